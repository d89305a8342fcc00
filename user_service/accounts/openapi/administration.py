"""Accounts, sessions and the audit trail, for admins."""

from accounts import serializers
from accounts.openapi.samples import ALICE, AUDIT_EVENT, PASSWORD, SESSION, page_of
from accounts.openapi.texts import ACCOUNTS, AUDIT, LAST_ADMIN, TAKEN
from accounts.views import audit, passwords, sessions, users
from chassis.openapi.operations import Answer, Body, Call, Kind, Operation

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
        description="Fields that are not sent stay as they are. Another email of an account whose invitation is "
        "pending ends that invitation and sends one there.",
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
    (passwords.SendInvitation, "post"): Operation(
        id="sendInvitation",
        tag=ACCOUNTS,
        summary="Send another invitation",
        description="To somebody who has not chosen a password yet. Earlier mails stay good, for 7 days each.",
        answer=Answer(status=202, description="The mail is on its way, unless one was sent within the last minute."),
        refusals={409: "The account has a password already, or is not active."},
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
