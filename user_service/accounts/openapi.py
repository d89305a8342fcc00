"""What only the API documentation needs: its headings, texts of several operations, and answers with no serializer."""

from rest_framework import serializers

from accounts import examples
from chassis.api.serializers import OutputSerializer

SIGNING_IN, OWN, ACCOUNTS, AUDIT = "Sign up and sign in", "Own account", "Accounts", "Audit trail"
TAGS = {
    SIGNING_IN: "From a new account to tokens, and to a new password.",
    OWN: "What everyone may do with their own account.",
    ACCOUNTS: "What an admin may do with all of them.",
    AUDIT: "What was done to accounts and sessions, by whom and from where.",
}
LOCKED = (
    "Too many requests, or ten failed attempts with this username or email from devices that have not signed in with "
    "it before; `Retry-After` says when to come back, and a password reset lifts the wait."
)
TOO_MANY_FAILURES = "Too many requests, or too many failed attempts; `Retry-After` says when to come back."
LAST_ADMIN = "The last active admin can be neither deleted, demoted nor deactivated."
TAKEN = "Another account has this username or email."
GONE = {404: "The account was deleted meanwhile."}
NO_USER = {404: "There is no such account."}
MAILED = {202: "The mail is on its way, unless one was sent within the last minute."}


class TokensSerializer(OutputSerializer):
    access = serializers.CharField(help_text="For the header `Authorization`; good for five minutes.")
    refresh = serializers.CharField(help_text="For the next pair; good once, for seven days at most.")

    class Meta:
        swagger_schema_fields = {"example": {"access": examples.TOKEN, "refresh": examples.TOKEN}}


class NothingSerializer(serializers.Serializer):
    pass


class KeySetSerializer(serializers.Serializer):
    keys = serializers.ListField(
        child=serializers.JSONField(),
        help_text="One JSON Web Key for each key that signs people's tokens, has signed or will.",
    )

    class Meta:
        swagger_schema_fields = {"example": {"keys": [examples.PUBLIC_JWK]}}
