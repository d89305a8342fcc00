"""Texts and schemas for the API documentation only."""

from rest_framework import serializers

from accounts import examples
from chassis.api.serializers import OutputSerializer

SIGNING_IN, OWN, ACCOUNTS, AUDIT = "Sign up and sign in", "Own account", "Accounts", "Audit trail"
TAGS = {
    SIGNING_IN: "Registration, tokens, and forgotten passwords.",
    OWN: "Operations of every user on their own account.",
    ACCOUNTS: "Operations of admins on all accounts.",
    AUDIT: "Events of accounts and sessions: who did what, and from where.",
}
LOCKED = (
    "Too many requests, or ten failed attempts with this username or email from devices that have not signed in with "
    "it before. `Retry-After` says when to try again; a password reset ends the wait."
)
TOO_MANY_FAILURES = "Too many requests, or too many failed attempts; `Retry-After` says when to try again."
LAST_ADMIN = "The last active admin cannot be deleted, demoted or deactivated."
TAKEN = "Another account has this username or email."
GONE = {404: "The account was deleted in the meantime."}
NO_USER = {404: "There is no account with this id."}
MAILED = {202: "The email will be sent, unless one was sent within the last minute."}


class TokensSerializer(OutputSerializer):
    access = serializers.CharField(help_text="For the header `Authorization`; valid for five minutes.")
    refresh = serializers.CharField(
        help_text="Gets the next pair of tokens; usable once, and valid for at most seven days."
    )

    class Meta:
        swagger_schema_fields = {"example": {"access": examples.TOKEN, "refresh": examples.TOKEN}}


class NothingSerializer(serializers.Serializer):
    pass


class KeySetSerializer(serializers.Serializer):
    keys = serializers.ListField(
        child=serializers.JSONField(),
        help_text="A JSON Web Key for each current, former and future signing key of access tokens.",
    )

    class Meta:
        swagger_schema_fields = {"example": {"keys": [examples.PUBLIC_JWK]}}
