"""One's own account."""

from accounts import serializers
from accounts.openapi.samples import ALICE, PASSWORD, SESSION, page_of
from accounts.openapi.texts import OWN, TAKEN, TOO_MANY_FAILURES
from accounts.views import me
from chassis.openapi.operations import Answer, Body, Call, Kind, Operation

OWN_ALICE = {name: value for name, value in ALICE.items() if name not in ("invitation", "invited_at")}
OWN_ALICE |= {"email_confirmed": True, "pending_email": None}
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
