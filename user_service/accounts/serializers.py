"""Input and output of accounts, sessions and audit events."""

from collections.abc import Callable
from typing import Any

from django.contrib.auth.password_validation import MinimumLengthValidator, validate_password
from django.core.exceptions import ValidationError as DjangoValidationError
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from accounts import examples
from accounts.models import AuditEvent, PasswordToken, Session, User
from accounts.models.session import MAX_USER_AGENT_LENGTH, clean_user_agent
from accounts.names import USERNAME, check_not_reserved, fold, validate_email, validate_username
from chassis.addresses import ADDRESS, MAX_LENGTH, normalize
from chassis.api.fields import (
    CappedField,
    ChoiceField,
    IdField,
    SecretField,
    SingleLineField,
    StrictBooleanField,
    UserReferenceField,
)
from chassis.api.serializers import StrictModelSerializer, StrictSerializer

USERNAME_RULES = "1 to 64 characters: letters a to z, digits, dot, hyphen, underscore. Case does not matter."
ACCOUNT_FIELDS = ["id", "username", "email", "role", "is_active", "date_joined"]
IS_ACTIVE = "Whether the account can sign in and its tokens are valid."
PASSWORD_RULES = "At least 8 characters and at most 1,024 bytes. Passwords that are easy to guess are rejected."
MAX_NAME_LENGTH = 64


def check_password_strength(password: str, *, field: str, user: User) -> None:
    try:
        validate_password(password, user)
    except DjangoValidationError as error:
        raise serializers.ValidationError({field: error.messages}) from error


class RoleField(ChoiceField):
    def __init__(self, **kwargs: Any) -> None:
        roles = {role.value: role.value for role in User.Role}
        kwargs.setdefault("help_text", "An admin can manage all accounts and tasks.")
        super().__init__(names=roles, spellings=roles, **kwargs)


class InvitationField(ChoiceField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(names={state.value: state.value for state in User.Invitation}, spellings={}, **kwargs)


class EmailField(SingleLineField):
    class Meta:
        swagger_schema_fields = {"format": "email", "pattern": f"^ *{ADDRESS.pattern} *$"}  # whitespace is cut off

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("help_text", "The domain may have letters outside ASCII; it is stored as xn--...")
        super().__init__(max_length=MAX_LENGTH, validators=[validate_email], **kwargs)

    def to_internal_value(self, data: Any) -> str:
        return normalize(super().to_internal_value(data))


class UsernameField(SingleLineField):
    class Meta:
        swagger_schema = {"type": "string", "pattern": f"^ *{USERNAME.pattern} *$"}  # whitespace is cut off

    def __init__(self, *checks: Callable[[str], None], **kwargs: Any) -> None:
        validators = [validate_username, *checks]
        super().__init__(max_length=MAX_NAME_LENGTH, validators=validators, help_text=USERNAME_RULES, **kwargs)


class NewPasswordField(SecretField):
    """A new password. The serializer must also call check_password_strength."""

    class Meta:
        swagger_schema_fields = {"min_length": MinimumLengthValidator().min_length}


class UserSerializer(StrictModelSerializer):
    """An account for admins."""

    username = UsernameField()
    email = EmailField()
    role = RoleField()
    is_active = StrictBooleanField(default=True, help_text=IS_ACTIVE)
    invitation = InvitationField(
        read_only=True,
        allow_null=True,
        help_text="Whether the owner has chosen a password; null if the account was created without an invitation.",
    )

    class Meta:
        model = User
        fields = [*ACCOUNT_FIELDS, "invitation", "invited_at"]
        read_only_fields = ["id", "date_joined", "invited_at"]
        extra_kwargs = {"invited_at": {"help_text": "When the last invitation was sent."}}
        swagger_schema_fields = {"example": examples.USER}


class NewAccountSerializer(StrictSerializer):
    """The fields of every new account. Accepts reserved names such as "admin": admins and operators may use them."""

    username = UsernameField()
    email = EmailField()
    password = NewPasswordField(help_text=PASSWORD_RULES)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        user = User(username=attrs["username"], email=attrs["email"])
        if attrs["password"] is not None:
            check_password_strength(attrs["password"], field="password", user=user)
        return attrs


class RegistrationSerializer(NewAccountSerializer):
    username = UsernameField(check_not_reserved)
    role = RoleField(default=User.Role.USER)


class NewUserSerializer(NewAccountSerializer):
    """An account created by an admin. Without a password, the owner gets an invitation."""

    password = NewPasswordField(default=None, help_text=PASSWORD_RULES)
    role = RoleField(default=User.Role.USER)


class EmailSerializer(StrictSerializer):
    email = EmailField()


class ConfirmSerializer(StrictSerializer):
    token = CappedField(max_length=100, help_text="The token from the email.")
    new_password = NewPasswordField()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs["user"] = PasswordToken.objects.user_for(attrs["token"])
        check_password_strength(attrs["new_password"], field="new_password", user=attrs["user"])
        return attrs


class EmailTokenSerializer(StrictSerializer):
    token = CappedField(max_length=100, help_text="The token from the email.")


class OwnAccountSerializer(UserSerializer):
    """An account for its owner."""

    role = RoleField(read_only=True)
    is_active = StrictBooleanField(read_only=True, help_text=IS_ACTIVE)
    email_confirmed = StrictBooleanField(read_only=True, help_text="Whether emails are sent to this address.")
    pending_email = EmailField(read_only=True, allow_null=True, help_text="The new address, until it is confirmed.")
    current_password = SecretField(required=False, help_text="Required to change the username or email.")

    class Meta(UserSerializer.Meta):
        fields = [*ACCOUNT_FIELDS, "email_confirmed", "pending_email", "current_password"]
        swagger_schema_fields = {"example": examples.OWN_ACCOUNT}

    def validate_username(self, name: str) -> str:
        # An account with a reserved name, such as the first admin's, may keep it.
        if self.instance is None or fold(name) != self.instance.username_key:
            check_not_reserved(name)
        return name

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        user: User = self.context["user"]
        if user.login_changes(attrs) and "current_password" not in attrs:
            detail = ErrorDetail("Is required to change the username or email.", code="required")
            raise serializers.ValidationError({"current_password": [detail]})
        return attrs

    def update(self, instance: User, validated_data: dict[str, Any]) -> User:
        instance.change_own(**{name: value for name, value in validated_data.items() if name != "current_password"})
        return instance


class PasswordChangeSerializer(StrictSerializer):
    current_password = SecretField()
    new_password = NewPasswordField()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        check_password_strength(attrs["new_password"], field="new_password", user=self.context["user"])
        return attrs


class UserAgentField(serializers.CharField):
    """Cleans again on output: old rows were stored as sent."""

    def to_representation(self, value: str) -> str:
        return clean_user_agent(value)


class SessionSerializer(serializers.ModelSerializer):
    user_agent = UserAgentField(
        read_only=True, max_length=MAX_USER_AGENT_LENGTH, help_text="The `User-Agent` that signed in."
    )
    last_used_at = serializers.DateTimeField(
        source="rotated_at", help_text="When the tokens of the session were last refreshed."
    )
    current = serializers.SerializerMethodField(help_text="Whether this request belongs to the session.")

    class Meta:
        model = Session
        fields = ["id", "created_at", "last_used_at", "user_agent", "address", "current"]
        swagger_schema_fields = {"example": examples.SESSION}

    def get_current(self, session: Session) -> bool:
        return bool(session.pk == self.context["session_id"])


class EventUserField(UserReferenceField):
    """{"id", "username"} from the columns <name>_id and <name>_name, or null."""

    def __init__(self, name: str, **kwargs: Any) -> None:
        self.name = name
        super().__init__(source="*", **kwargs)

    def to_representation(self, event: AuditEvent) -> dict[str, Any] | None:
        id_ = getattr(event, f"{self.name}_id")
        return None if id_ is None else {"id": id_, "username": getattr(event, f"{self.name}_name")}


class AuditEventSerializer(serializers.ModelSerializer):
    event = ChoiceField(
        names={each.value: each.value for each in AuditEvent.Event},
        spellings={},
        read_only=True,
        help_text="The name of the event in OWASP's logging vocabulary.",
    )
    actor = EventUserField(
        "actor",
        help_text="The user who did it; null for a caller without a token and for operator commands.",
    )
    subject = EventUserField(
        "subject",
        help_text="The account that the event concerns; null if no account has the attempted name.",
    )

    class Meta:
        model = AuditEvent
        fields = ["id", "at", "event", "actor", "subject", "address", "details", "request_id"]
        extra_kwargs = {
            "address": {"help_text": "The address of the client."},
            "details": {"help_text": "More about the event; depends on its kind."},
            "request_id": {"help_text": "The id of the request, as in the logs."},
        }
        swagger_schema_fields = {"example": examples.AUDIT_EVENT}


class RowIdSerializer(serializers.Serializer):
    """The id in the body of the collection-level PUT and PATCH."""

    id = IdField()


class RowIdOnlySerializer(StrictSerializer, RowIdSerializer):
    """The body of the collection-level DELETE."""


class InternalUserSerializer(serializers.ModelSerializer):
    """An account for the task service. It mails only confirmed addresses, so it gets no others."""

    email = serializers.SerializerMethodField()
    least_epoch = serializers.IntegerField(source="min_valid_epoch")  # read by the previous version

    class Meta:
        model = User
        fields = ["id", "username", "email", "role", "is_active", "epoch", "min_valid_epoch", "least_epoch"]

    def get_email(self, user: User) -> str:
        return user.email if user.email_confirmed else ""


class PositionedInternalUserSerializer(InternalUserSerializer):
    """Adds the feed position of the last change, so that a reader can tell which of two copies is newer."""

    position = serializers.IntegerField()

    class Meta(InternalUserSerializer.Meta):
        fields = [*InternalUserSerializer.Meta.fields, "position"]
