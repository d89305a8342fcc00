"""How long PostgreSQL lets the roles of a service work and wait."""

STATEMENT_SECONDS = 3
# PostgreSQL keeps them by role, since a connection pooler takes no such settings from its clients. A statement stops
# waiting for a lock before the client gives up; a transaction that holds one and does nothing is ended, also by hand.
TIME_LIMITS = {
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "30s",
}
OWNERS_TIME_LIMITS = {**TIME_LIMITS, "statement_timeout": "0"}  # a migration takes as long as it takes
