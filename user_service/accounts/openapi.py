"""What the document tells of accounts and of signing in, beside what it derives."""

from typing import Any

from django.contrib.auth.password_validation import MinimumLengthValidator
from rest_framework.serializers import JSONField, SerializerMethodField

from accounts import serializers
from accounts.filters import AuditEventFilter, UserFilter
from accounts.names import USERNAME
from accounts.serializers import EmailField, NewPasswordField, PersonField, UsernameField
from accounts.views import audit, emails, me, passwords, sessions, signing_in, users
from chassis.addresses import ADDRESS
from chassis.fields import LineField, SecretField
from chassis.openapi.operations import Answer, Body, Call, Chapter, Kind, Operation, Shape
from chassis.openapi.schemas import person, schema_of

SIGNING_IN, OWN, ACCOUNTS, AUDIT = "Sign up and sign in", "Own account", "Accounts", "Audit trail"
LOCKED = (
    "Too many requests, or ten failed attempts with this username or email from devices that have not signed in with "
    "it before; `Retry-After` says when to come back, and a password reset lifts the wait."
)
TOO_MANY_FAILURES = "Too many requests, or too many failed attempts; `Retry-After` says when to come back."
LAST_ADMIN = "The last active admin can be neither deleted, demoted nor deactivated."
TAKEN = "Another account has this username or email."
ALICE = {
    "id": 2,
    "username": "alice",
    "email": "alice@example.com",
    "role": "user",
    "is_active": True,
    "date_joined": "2026-11-23T09:00:00.000000Z",
}
PASSWORD = "correct horse battery"
TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIyIn0.c2lnbmF0dXJl"
MAIL_TOKEN = "kX2vJ8dQ0mZr4Tq7Yb1nHs6Wc3Lf9Pga5Ue-oIiKjEw"
SESSION = {
    "id": 12,
    "created_at": "2026-11-23T09:00:00.000000Z",
    "last_used_at": "2026-11-23T09:04:30.000000Z",
    "user_agent": "Mozilla/5.0",
    "address": "203.0.113.7",
    "current": True,
}
AUDIT_EVENT = {
    "id": 31,
    "at": "2026-11-23T09:00:00.000000Z",
    "event": "authz_change",
    "actor": {"id": 1, "username": "admin"},
    "subject": {"id": 2, "username": "alice"},
    "address": "203.0.113.7",
    "details": {"from": "user", "to": "admin"},
    "request_id": "de2ee837b8824003b6e2a008330b68bf",
}
PAIR = Shape(
    "Tokens",
    {
        "access": {"type": "string", "description": "For the header `Authorization`; good for five minutes."},
        "refresh": {"type": "string", "description": "For the next pair; good once, for seven days at most."},
    },
)
NOTHING = Shape("Nothing", {})
KEY_SET = Shape(
    "KeySet",
    {
        "keys": {
            "type": "array",
            "description": "One JSON Web Key for each key that signs people's tokens, has signed or will.",
            "items": {"type": "object"},
        }
    },
)
PUBLIC_JWK = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "Wz2vTq0m1cZ8yK5hL9dR3uN7eXbJ4sGfQaPiOoYt6Ek",
    "alg": "EdDSA",
    "kid": "b9Qm0VtXl3cSg7ZkYw2nRj5uHf8eTa1iPd6oCr4xLvM",
    "use": "sig",
}


@schema_of.register(EmailField)
def _(field: EmailField) -> dict[str, Any]:
    # Whitespace around it is cut off.
    return {**schema_of.dispatch(LineField)(field), "format": "email", "pattern": f"^ *{ADDRESS.pattern} *$"}


@schema_of.register(UsernameField)
def _(field: UsernameField) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^ *{USERNAME.pattern} *$"}  # blanks around it are cut off


@schema_of.register(NewPasswordField)
def _(field: NewPasswordField) -> dict[str, Any]:
    return {**schema_of.dispatch(SecretField)(field), "minLength": MinimumLengthValidator().min_length}


@schema_of.register(SerializerMethodField)
def _(field: SerializerMethodField) -> dict[str, Any]:
    """Describe the `current` of a session, which is the only one."""
    return {"type": "boolean"}


@schema_of.register(PersonField)
def _(field: PersonField) -> dict[str, Any]:
    return person("An account, with the name it had then; it may be deleted since.")


@schema_of.register(JSONField)
def _(field: JSONField) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": True}


def page_of(row: dict[str, Any]) -> dict[str, Any]:
    return {"next": None, "previous": None, "results": [row]}


SIGNING_IN_OPERATIONS: dict[Call, Operation] = {
    (signing_in.Register, "post"): Operation(
        id="register",
        tag=SIGNING_IN,
        summary="Sign up",
        description="Makes an account of role `user`. Only who comes with an admin's token may ask for another role.",
        body=Body(
            serializers.RegistrationSerializer,
            {"username": "alice", "email": "alice@example.com", "password": PASSWORD},
        ),
        answer=Answer(serializers.UserSerializer, ALICE, status=201, description="The new account."),
        refusals={403: "Only an admin can make an admin.", 409: TAKEN},
    ),
    (signing_in.ObtainToken, "post"): Operation(
        id="signIn",
        tag=SIGNING_IN,
        summary="Sign in",
        description="Opens a session. Paste `access` into *Authorize*.",
        body=Body(serializers.CredentialsSerializer, {"username": "alice", "password": PASSWORD}),
        answer=Answer(PAIR, {"access": TOKEN, "refresh": TOKEN}, description="The tokens of the session."),
        refusals={401: "No active account has this name and password.", 429: LOCKED},
    ),
    (signing_in.RefreshToken, "post"): Operation(
        id="refreshTokens",
        tag=SIGNING_IN,
        summary="Get the next pair of tokens",
        description="A refresh token is good once: who uses it again, other than to repeat a lost answer within ten "
        "seconds, ends the session. With a good token it counts as a request of the account, else of the address.",
        body=Body(serializers.RefreshSerializer, {"refresh": TOKEN}),
        answer=Answer(PAIR, {"access": TOKEN, "refresh": TOKEN}, description="The next tokens of the session."),
        refusals={401: "The refresh token is not good, or not any more."},
    ),
    (signing_in.VerifyToken, "post"): Operation(
        id="verifyToken",
        tag=SIGNING_IN,
        summary="Ask whether a token is good",
        description="Takes access and refresh tokens.",
        body=Body(serializers.TokenSerializer, {"token": TOKEN}),
        answer=Answer(NOTHING, {}, description="It is good at this moment."),
        refusals={401: "The token is not good, or not any more."},
    ),
    (signing_in.KeySet, "get"): Operation(
        id="readKeySet",
        tag=SIGNING_IN,
        summary="Read the public keys that verify tokens",
        description="A JSON Web Key Set (RFC 7517), good for five minutes; empty while a shared key signs.",
        answer=Answer(KEY_SET, {"keys": [PUBLIC_JWK]}, description="The keys.", headers=("Cache-Control",)),
    ),
    (signing_in.Logout, "post"): Operation(
        id="signOut",
        tag=SIGNING_IN,
        summary="Sign out",
        description="Ends the session of a refresh token. To do so twice does no harm. With a token of a session that "
        "lives it counts as a request of the account, else of the address.",
        body=Body(serializers.RefreshSerializer, {"refresh": TOKEN}),
        answer=Answer(status=204, description="The session has ended."),
        refusals={401: "It is no refresh token, or an expired one."},
    ),
    (signing_in.LogoutAll, "post"): Operation(
        id="signOutEverywhere",
        tag=SIGNING_IN,
        summary="Sign out everywhere",
        description="Ends all sessions of the caller, and every token made before.",
        answer=Answer(status=204, description="All sessions have ended."),
        refusals={404: "The account was deleted meanwhile."},
    ),
    (passwords.RequestReset, "post"): Operation(
        id="requestPasswordReset",
        tag=SIGNING_IN,
        summary="Have a mail sent for a forgotten password",
        description="The answer is the same whether anybody has the address or not.",
        body=Body(serializers.EmailSerializer, {"email": "alice@example.com"}),
        answer=Answer(status=202, description="If there is such an account, a mail is on its way."),
    ),
    (emails.ConfirmEmail, "post"): Operation(
        id="confirmEmail",
        tag=SIGNING_IN,
        summary="Confirm an address by a token from a mail",
        description="Confirms the address of a new account, or makes a pending address the account's.",
        body=Body(serializers.EmailTokenSerializer, {"token": MAIL_TOKEN}),
        answer=Answer(status=204, description="The address is confirmed."),
        refusals={409: "Another account has this email by now."},
    ),
    (passwords.ConfirmReset, "post"): Operation(
        id="confirmPasswordReset",
        tag=SIGNING_IN,
        summary="Set a password by a token from a mail",
        description="Ends every session of the account.",
        body=Body(serializers.ConfirmSerializer, {"token": MAIL_TOKEN, "new_password": "nine purple umbrellas"}),
        answer=Answer(status=204, description="The password is set."),
    ),
}
OWN_ALICE = {**ALICE, "email_confirmed": True, "pending_email": None}
GONE = {404: "The account was deleted meanwhile."}
OWN_OPERATIONS: dict[Call, Operation] = {
    (me.Me, "get"): Operation(
        id="readOwnAccount",
        tag=OWN,
        summary="Read one's own account",
        answer=Answer(serializers.OwnAccountSerializer, OWN_ALICE, description="The account of the caller."),
        refusals=GONE,
    ),
    (me.Me, "patch"): Operation(
        id="changeOwnAccount",
        tag=OWN,
        summary="Change one's own name or address",
        description="Needs the current password. A new username applies at once. A new email is pending until it "
        "is confirmed by the token that is mailed there; the old address is told.",
        body=Body(
            serializers.OwnAccountSerializer,
            {"email": "alice.smith@example.com", "current_password": PASSWORD},
            Kind.PATCH,
        ),
        answer=Answer(
            serializers.OwnAccountSerializer,
            {**OWN_ALICE, "pending_email": "alice.smith@example.com"},
            description="The account as it is now.",
        ),
        refusals={**GONE, 409: TAKEN, 429: TOO_MANY_FAILURES},
    ),
    (me.ResendConfirmation, "post"): Operation(
        id="resendEmailConfirmation",
        tag=OWN,
        summary="Have another mail sent to the address that is to be confirmed",
        answer=Answer(status=202, description="The mail is on its way, unless one was sent within the last minute."),
        refusals={**GONE, 409: "There is no address to confirm."},
    ),
    (me.ChangePassword, "post"): Operation(
        id="changeOwnPassword",
        tag=OWN,
        summary="Change one's own password",
        description="Ends every other session.",
        body=Body(
            serializers.PasswordChangeSerializer,
            {"current_password": PASSWORD, "new_password": "nine purple umbrellas"},
        ),
        answer=Answer(status=204, description="The password is changed."),
        refusals={**GONE, 429: TOO_MANY_FAILURES},
    ),
    (me.OwnSessions, "get"): Operation(
        id="listOwnSessions",
        tag=OWN,
        summary="List one's own sessions",
        answer=Answer(serializers.SessionSerializer, page_of(SESSION), description="A page of sessions."),
    ),
    (me.OwnSession, "delete"): Operation(
        id="endOwnSession",
        tag=OWN,
        summary="End one of one's own sessions",
        answer=Answer(status=204, description="It has ended."),
    ),
}
CHANGED = {**ALICE, "role": "admin"}
REPLACEMENT = {"username": "alice", "email": "alice@example.com", "role": "admin", "is_active": True}
NO_ACCOUNT = {404: "There is no account with this `id`."}
CONFLICTS = {409: f"{TAKEN} {LAST_ADMIN}"}
IN_BODY = "The same as under `/user/users/{user_id}/`, with the `id` in the body."
ACCOUNT_OPERATIONS: dict[Call, Operation] = {
    (users.UserList, "get"): Operation(
        id="listUsers",
        tag=ACCOUNTS,
        summary="List accounts",
        answer=Answer(serializers.UserSerializer, page_of(ALICE), description="A page of accounts."),
    ),
    (users.UserList, "post"): Operation(
        id="createUser",
        tag=ACCOUNTS,
        summary="Make an account",
        description="Without a `password` its owner is invited by mail to choose one.",
        body=Body(
            serializers.NewUserSerializer,
            {"username": "alice", "email": "alice@example.com", "role": "user", "password": PASSWORD},
        ),
        answer=Answer(serializers.UserSerializer, ALICE, status=201, description="The new account."),
        refusals={409: TAKEN},
    ),
    (users.UserList, "put"): Operation(
        id="replaceUserById",
        tag=ACCOUNTS,
        summary="Replace an account that the body names",
        description=IN_BODY,
        body=Body(serializers.UserSerializer, {"id": 2, **REPLACEMENT}, Kind.PUT, with_id=True),
        answer=Answer(serializers.UserSerializer, CHANGED, description="The account as it is now.", headers=("ETag",)),
        refusals=NO_ACCOUNT | CONFLICTS,
    ),
    (users.UserList, "patch"): Operation(
        id="changeUserById",
        tag=ACCOUNTS,
        summary="Change an account that the body names",
        description=IN_BODY,
        body=Body(serializers.UserSerializer, {"id": 2, "role": "admin"}, Kind.PATCH, with_id=True),
        answer=Answer(serializers.UserSerializer, CHANGED, description="The account as it is now.", headers=("ETag",)),
        refusals=NO_ACCOUNT | CONFLICTS,
    ),
    (users.UserList, "delete"): Operation(
        id="deleteUserById",
        tag=ACCOUNTS,
        summary="Delete an account that the body names",
        description=IN_BODY,
        body=Body(serializers.RowIdOnlySerializer, {"id": 2}),
        answer=Answer(status=204, description="It is deleted."),
        refusals=NO_ACCOUNT | {409: LAST_ADMIN},
    ),
    (users.UserDetail, "get"): Operation(
        id="readUser",
        tag=ACCOUNTS,
        summary="Read an account",
        description="Everyone may read their own.",
        answer=Answer(serializers.UserSerializer, ALICE, description="The account."),
    ),
    (users.UserDetail, "put"): Operation(
        id="replaceUser",
        tag=ACCOUNTS,
        summary="Replace an account",
        body=Body(serializers.UserSerializer, REPLACEMENT, Kind.PUT),
        answer=Answer(serializers.UserSerializer, CHANGED, description="The account as it is now."),
        refusals=CONFLICTS,
    ),
    (users.UserDetail, "patch"): Operation(
        id="changeUser",
        tag=ACCOUNTS,
        summary="Change an account",
        description="Fields that are not sent stay as they are.",
        body=Body(serializers.UserSerializer, {"role": "admin"}, Kind.PATCH),
        answer=Answer(serializers.UserSerializer, CHANGED, description="The account as it is now."),
        refusals=CONFLICTS,
    ),
    (users.UserDetail, "delete"): Operation(
        id="deleteUser",
        tag=ACCOUNTS,
        summary="Delete an account",
        description="Its sessions end, and its tasks become unassigned.",
        answer=Answer(status=204, description="It is deleted."),
        refusals={409: LAST_ADMIN},
    ),
    (passwords.MailReset, "post"): Operation(
        id="mailPasswordReset",
        tag=ACCOUNTS,
        summary="Have a mail for a new password sent to somebody",
        answer=Answer(status=202, description="The mail is on its way."),
    ),
}
NO_USER = {404: "There is no such account."}
SESSION_OPERATIONS: dict[Call, Operation] = {
    (sessions.UserSessions, "get"): Operation(
        id="listUserSessions",
        tag=ACCOUNTS,
        summary="List the sessions of an account",
        answer=Answer(serializers.SessionSerializer, page_of(SESSION), description="A page of sessions."),
        refusals=NO_USER,
    ),
    (sessions.UserSessions, "delete"): Operation(
        id="endUserSessions",
        tag=ACCOUNTS,
        summary="End all sessions of an account",
        description="Every token made before ends too, in both services.",
        answer=Answer(status=204, description="All sessions have ended."),
        refusals=NO_USER,
    ),
    (sessions.UserSession, "delete"): Operation(
        id="endUserSession",
        tag=ACCOUNTS,
        summary="End one session of an account",
        description="Its access token is good in the task service until it expires, five minutes at most.",
        answer=Answer(status=204, description="It has ended."),
    ),
}
AUDIT_OPERATIONS: dict[Call, Operation] = {
    (audit.AuditTrail, "get"): Operation(
        id="listAuditEvents",
        tag=AUDIT,
        summary="List what was done to accounts and sessions",
        description="Sign-ins, failed ones too, and every change of an account, newest first.",
        answer=Answer(serializers.AuditEventSerializer, page_of(AUDIT_EVENT), description="A page of events."),
    ),
}
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
        },
        serializers.OwnAccountSerializer: {
            "email_confirmed": "Whether mails are sent to this address.",
            "pending_email": "What becomes the address when it is confirmed.",
            "current_password": "Needed to change the username or email.",
        },
        serializers.EmailTokenSerializer: {"token": "What stands in the mail."},
        serializers.FirstAdminSerializer: {
            "username": NAME,
            "password": "At least 8 characters, at most 1,024 bytes, and none that is easily guessed.",
        },
        serializers.CredentialsSerializer: {"username": "The username, or the email."},
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
            "search": "Accounts whose username or email holds this text, in any case.",
        },
    },
)
