-- Prints statements that keep the sequences of now from going back when run after a restore. What was numbered since
-- the backup is not numbered again: else an account got the tasks of another that had its id, and the task service took
-- a change for one that it knows.
SELECT format(
    'SELECT setval(to_regclass(%1$L), greatest(%2$s, pg_sequence_last_value(to_regclass(%1$L))));',
    format('%I.%I', schemaname, sequencename), last_value
)
FROM pg_sequences WHERE last_value IS NOT NULL
