"""What may come in about an account, and what goes out. A privilege that may not be set is not listed."""

from collections.abc import Callable
from typing import Any

from django.contrib.auth.password_validation import MinimumLengthValidator, validate_password
from django.core.exceptions import ValidationError as DjangoValidationError
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from accounts import examples
from accounts.models import AuditEvent, PasswordToken, Session, User
from accounts.models.session import LONGEST_USER_AGENT, clean_user_agent
from accounts.names import USERNAME, fold, refuse_reserved, validate_email, validate_username
from chassis.addresses import ADDRESS, MAX_LENGTH, normalize
from chassis.api.fields import CappedField, ChoiceField, IdField, LineField, PersonField, SecretField, YesNoField
from chassis.api.serializers import StrictModelSerializer, StrictSerializer

NAME = "1 to 64 characters: letters a to z, digits, dot, hyphen, underscore. Upper and lower case are the same name."
ACCOUNT_FIELDS = ["id", "username", "email", "role", "is_active", "date_joined"]
IS_ACTIVE = "Who is not active cannot sign in, and has no good token."
PASSWORD_RULES = "At least 8 characters, at most 1,024 bytes, and none that is easily guessed."
MAX_NAME_LENGTH = 64
MAX_TOKEN_LENGTH = 4096  # several times that of any token of ours


def refuse_weak(password: str, *, field: str, user: User) -> None:
    try:
        validate_password(password, user)
    except DjangoValidationError as error:
        raise serializers.ValidationError({field: error.messages}) from error


class RoleField(ChoiceField):
    def __init__(self, **kwargs: Any) -> None:
        roles = {role.value: role.value for role in User.Role}
        kwargs.setdefault("help_text", "An admin does everything with accounts and tasks.")
        super().__init__(names=roles, spellings=roles, **kwargs)


class InvitationField(ChoiceField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(names={state.value: state.value for state in User.Invitation}, spellings={}, **kwargs)


class EmailField(LineField):
    class Meta:
        swagger_schema_fields = {"format": "email", "pattern": f"^ *{ADDRESS.pattern} *$"}  # whitespace is cut off

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("help_text", "A domain in other letters than ASCII is taken too, and stored as xn--...")
        super().__init__(max_length=MAX_LENGTH, validators=[validate_email], **kwargs)

    def to_internal_value(self, data: Any) -> str:
        return normalize(super().to_internal_value(data))


class UsernameField(LineField):
    class Meta:
        swagger_schema = {"type": "string", "pattern": f"^ *{USERNAME.pattern} *$"}  # whitespace is cut off

    def __init__(self, *refusals: Callable[[str], None], **kwargs: Any) -> None:
        validators = [validate_username, *refusals]
        super().__init__(max_length=MAX_NAME_LENGTH, validators=validators, help_text=NAME, **kwargs)


class NewPasswordField(SecretField):
    """One that is chosen: whoever takes it asks refuse_weak about it."""

    class Meta:
        swagger_schema_fields = {"min_length": MinimumLengthValidator().min_length}


class UserSerializer(StrictModelSerializer):
    """An account as an admin sees and changes it."""

    username = UsernameField()
    email = EmailField()
    role = RoleField()
    is_active = YesNoField(default=True, help_text=IS_ACTIVE)
    invitation = InvitationField(
        read_only=True,
        allow_null=True,
        help_text="Whether the owner has chosen a password; null for those who were never invited.",
    )

    class Meta:
        model = User
        fields = [*ACCOUNT_FIELDS, "invitation", "invited_at"]
        read_only_fields = ["id", "date_joined", "invited_at"]
        extra_kwargs = {"invited_at": {"help_text": "When the last invitation was mailed."}}
        swagger_schema_fields = {"example": examples.USER}


class FirstAdminSerializer(StrictSerializer):
    """What any new account needs. Reserved names such as "admin" are an admin's to give."""

    username = UsernameField()
    email = EmailField()
    password = NewPasswordField(help_text=PASSWORD_RULES)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        about = User(username=attrs["username"], email=attrs["email"])
        if attrs["password"] is not None:
            refuse_weak(attrs["password"], field="password", user=about)
        return attrs


class RegistrationSerializer(FirstAdminSerializer):
    username = UsernameField(refuse_reserved)
    role = RoleField(default=User.Role.USER)


class NewUserSerializer(FirstAdminSerializer):
    """An account that an admin makes; without a password its owner is invited by mail."""

    password = NewPasswordField(default=None, help_text=PASSWORD_RULES)
    role = RoleField(default=User.Role.USER)


class EmailSerializer(StrictSerializer):
    email = EmailField()


class ConfirmSerializer(StrictSerializer):
    token = CappedField(max_length=100, help_text="What stands in the mail.")
    new_password = NewPasswordField()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs["user"] = PasswordToken.objects.user_of(attrs["token"])
        refuse_weak(attrs["new_password"], field="new_password", user=attrs["user"])
        return attrs


class EmailTokenSerializer(StrictSerializer):
    token = CappedField(max_length=100, help_text="What stands in the mail.")


class CredentialsSerializer(StrictSerializer):
    username = CappedField(max_length=MAX_LENGTH, help_text="The username, or the email.")
    password = SecretField()


class RefreshSerializer(StrictSerializer):
    refresh = CappedField(max_length=MAX_TOKEN_LENGTH)


class TokenSerializer(StrictSerializer):
    token = CappedField(max_length=MAX_TOKEN_LENGTH)


class OwnAccountSerializer(UserSerializer):
    """An account as its owner sees and changes it."""

    role = RoleField(read_only=True)
    is_active = YesNoField(read_only=True, help_text=IS_ACTIVE)
    email_confirmed = YesNoField(read_only=True, help_text="Whether mails are sent to this address.")
    pending_email = EmailField(
        read_only=True, allow_null=True, help_text="What becomes the address when it is confirmed."
    )
    current_password = SecretField(required=False, help_text="Needed to change the username or email.")

    class Meta(UserSerializer.Meta):
        fields = [*ACCOUNT_FIELDS, "email_confirmed", "pending_email", "current_password"]
        swagger_schema_fields = {"example": examples.OWN_ACCOUNT}

    def validate_username(self, name: str) -> str:
        # Who has a reserved name, as the first admin does, may send it back.
        if self.instance is None or fold(name) != self.instance.username_key:
            refuse_reserved(name)
        return name

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        user: User = self.context["user"]
        if user.login_changes(attrs) and "current_password" not in attrs:
            detail = ErrorDetail("Is needed to change the username or email.", code="required")
            raise serializers.ValidationError({"current_password": [detail]})
        return attrs

    def update(self, instance: User, validated_data: dict[str, Any]) -> User:
        instance.change_own(**{name: value for name, value in validated_data.items() if name != "current_password"})
        return instance


class PasswordChangeSerializer(StrictSerializer):
    current_password = SecretField()
    new_password = NewPasswordField()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        refuse_weak(attrs["new_password"], field="new_password", user=self.context["user"])
        return attrs


class UserAgentField(serializers.CharField):
    """Cleaned once more when shown: rows from before were stored as sent."""

    def to_representation(self, value: str) -> str:
        return clean_user_agent(value)


class SessionSerializer(serializers.ModelSerializer):
    user_agent = UserAgentField(
        read_only=True, max_length=LONGEST_USER_AGENT, help_text="What signed in, as it called itself."
    )
    last_used_at = serializers.DateTimeField(source="rotated_at", help_text="When its tokens were last refreshed.")
    current = serializers.SerializerMethodField(help_text="Whether this request belongs to it.")

    class Meta:
        model = Session
        fields = ["id", "created_at", "last_used_at", "user_agent", "address", "current"]
        swagger_schema_fields = {"example": examples.SESSION}

    def get_current(self, session: Session) -> bool:
        return bool(session.pk == self.context["session_id"])


class NamedPersonField(PersonField):
    """{"id", "username"} from the columns NAME_id and NAME_name, or null."""

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
        help_text="Named after OWASP's logging vocabulary.",
    )
    actor = NamedPersonField(
        "actor",
        help_text="Who did it; null for somebody who has not signed in, and for commands of the operator.",
    )
    subject = NamedPersonField(
        "subject",
        help_text="The account that it was done to; null where no account has the name that was tried.",
    )

    class Meta:
        model = AuditEvent
        fields = ["id", "at", "event", "actor", "subject", "address", "details", "request_id"]
        extra_kwargs = {
            "address": {"help_text": "The address of the client."},
            "details": {"help_text": "What else there is to say; depends on the event."},
            "request_id": {"help_text": "The id of the request, as in the logs."},
        }
        swagger_schema_fields = {"example": examples.AUDIT_EVENT}


class RowIdSerializer(serializers.Serializer):
    """The id that the collection-level PUT and PATCH carry in their body, beside what they change."""

    id = IdField()


class RowIdOnlySerializer(StrictSerializer, RowIdSerializer):
    """The whole body of the collection-level DELETE."""


class PersonSerializer(serializers.ModelSerializer):
    """An account as the task service sees it: mails go to confirmed addresses alone, so it learns of no other."""

    email = serializers.SerializerMethodField()

    class Meta:
        model = User
        fields = ["id", "username", "email", "role", "is_active", "epoch", "least_epoch"]

    def get_email(self, user: User) -> str:
        return user.email if user.email_confirmed else ""


class PlacedPersonSerializer(PersonSerializer):
    """The same with the place of its last change in the feed, by which a reader tells which of two is newer."""

    position = serializers.IntegerField()

    class Meta(PersonSerializer.Meta):
        fields = [*PersonSerializer.Meta.fields, "position"]
