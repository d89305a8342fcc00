-- Print statements that advance the restored sequences to their values before the restore. Ids assigned since the backup
-- must not be reused: a new account would get the tasks of the account that had its id, and the task service would skip a
-- change with a number that it has already seen.
SELECT format(
    'SELECT setval(to_regclass(%1$L), greatest(%2$s, pg_sequence_last_value(to_regclass(%1$L))));',
    format('%I.%I', schemaname, sequencename), last_value
)
FROM pg_sequences WHERE last_value IS NOT NULL
