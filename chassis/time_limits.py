"""Time limits of the PostgreSQL roles of a service."""

STATEMENT_SECONDS = 3
# Set per role, because a connection pooler accepts no such settings from its clients. A statement that waits for a lock
# fails before the client gives up; an idle transaction is ended, even one that an operator opened.
TIME_LIMITS = {
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "30s",
}
OWNER_TIME_LIMITS = {**TIME_LIMITS, "statement_timeout": "0"}  # a migration may take long
