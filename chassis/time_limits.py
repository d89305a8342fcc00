"""How long PostgreSQL lets the roles of a service work and wait."""

STATEMENT_SECONDS = 3
# Held by role, since connections may go by a pooler, which takes no such settings from its clients. Whoever waits for a
# lock gives up before the client does; whoever holds one and does nothing is ended, also by hand.
TIME_LIMITS = {
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "30s",
}
OWNERS_TIME_LIMITS = {**TIME_LIMITS, "statement_timeout": "0"}  # a migration takes as long as it takes
