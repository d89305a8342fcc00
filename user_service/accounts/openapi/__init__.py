"""What the document says of accounts and of signing in, beside what it derives."""

from accounts import serializers, token_serializers
from accounts.filters import AuditEventFilter, UserFilter
from accounts.openapi.administration import ACCOUNT_OPERATIONS, AUDIT_OPERATIONS, SESSION_OPERATIONS
from accounts.openapi.own import OWN_OPERATIONS
from accounts.openapi.signing_in import SIGNING_IN_OPERATIONS
from accounts.openapi.texts import ACCOUNTS, AUDIT, OWN, SIGNING_IN
from chassis.openapi.operations import Chapter

NAME = "1 to 64 characters: letters a to z, digits, dot, hyphen, underscore. Upper and lower case are the same name."
CHAPTER = Chapter(
    tags={
        SIGNING_IN: "From a new account to tokens, and to a new password.",
        OWN: "What everyone may do with their own account.",
        ACCOUNTS: "What an admin may do with all of them.",
        AUDIT: "What was done to accounts and sessions, by whom and from where.",
    },
    operations=SIGNING_IN_OPERATIONS | OWN_OPERATIONS | ACCOUNT_OPERATIONS | SESSION_OPERATIONS | AUDIT_OPERATIONS,
    notes={
        serializers.UserSerializer: {
            "username": NAME,
            "role": "An admin does everything with accounts and tasks.",
            "is_active": "Who is not active cannot sign in, and has no good token.",
            "invitation": "Whether the owner has chosen a password; null for those who were never invited.",
            "invited_at": "When the last invitation was mailed.",
        },
        serializers.OwnAccountSerializer: {
            "email_confirmed": "Whether mails are sent to this address.",
            "pending_email": "What becomes the address when it is confirmed.",
            "current_password": "Needed to change the username or email.",
        },
        serializers.EmailTokenSerializer: {"token": "What stands in the mail."},
        serializers.NewAccountSerializer: {
            "username": NAME,
            "password": "At least 8 characters, at most 1,024 bytes, and none that is easily guessed.",
        },
        token_serializers.CredentialsSerializer: {"username": "The username, or the email."},
        serializers.ConfirmSerializer: {"token": "What stands in the mail."},
        serializers.SessionSerializer: {
            "last_used_at": "When its tokens were last refreshed.",
            "user_agent": "What signed in, as it called itself.",
            "current": "Whether this request belongs to it.",
        },
        serializers.AuditEventSerializer: {
            "event": "Named after OWASP's logging vocabulary.",
            "actor": "Who did it; null for somebody who has not signed in, and for commands of the operator.",
            "subject": "The account that it was done to; null where no account has the name that was tried.",
            "address": "The address of the client.",
            "details": "What else there is to say; depends on the event.",
            "request_id": "The id of the request, as in the logs.",
        },
        AuditEventFilter: {
            "event": "Events of these kinds.",
            "actor": "Events done by this account.",
            "subject": "Events done to this account.",
            "after": "On this day (UTC) or later.",
            "before": "On this day (UTC) or earlier.",
        },
        UserFilter: {
            "role": "Accounts of these roles.",
            "is_active": "Those that are active, or those that are not.",
            "invitation": "Accounts whose invitation is pending or accepted.",
            "search": "Accounts whose username or email holds this text, in any case.",
        },
    },
)
