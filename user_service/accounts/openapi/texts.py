"""What several operations say."""

SIGNING_IN, OWN, ACCOUNTS, AUDIT = "Sign up and sign in", "Own account", "Accounts", "Audit trail"
LOCKED = (
    "Too many requests, or ten failed attempts with this username or email from devices that have not signed in with "
    "it before; `Retry-After` says when to come back, and a password reset lifts the wait."
)
TOO_MANY_FAILURES = "Too many requests, or too many failed attempts; `Retry-After` says when to come back."
LAST_ADMIN = "The last active admin can be neither deleted, demoted nor deactivated."
TAKEN = "Another account has this username or email."
