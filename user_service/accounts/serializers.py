"""What may come in about an account, and what goes out. A privilege that may not be set is not listed."""

from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError as DjangoValidationError
from rest_framework import serializers

from accounts.models import User
from accounts.names import refuse_reserved, validate_username
from chassis.fields import ChoiceField, IdField, LineField, SecretField, YesNoField
from chassis.serializers import StrictModelSerializer, StrictSerializer

LONGEST_PASSWORD = 256  # hashing costs by length: a cap keeps a long one from being an attack


class RoleField(ChoiceField):
    def __init__(self, **kwargs: Any) -> None:
        roles = {role.value: role.value for role in User.Role}
        super().__init__(names=roles, spellings=roles, **kwargs)


class EmailField(LineField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=254, **kwargs)
        self.validators.append(serializers.EmailField().validators[-1])


class UserSerializer(StrictModelSerializer):
    """An account as an admin sees and changes it."""

    username = LineField(validators=[validate_username])
    email = EmailField()
    role = RoleField()
    is_active = YesNoField(default=True)

    class Meta:
        model = User
        fields = ["id", "username", "email", "role", "is_active", "date_joined"]
        read_only_fields = ["id", "date_joined"]


class FirstAdminSerializer(StrictSerializer):
    """What any new account needs; a reserved name such as "admin" is fine for the first admin alone."""

    username = LineField(validators=[validate_username])
    email = EmailField()
    password = SecretField(max_length=LONGEST_PASSWORD)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        about = User(username=attrs["username"], email=attrs["email"])
        try:
            validate_password(attrs["password"], about)
        except DjangoValidationError as error:
            raise serializers.ValidationError({"password": error.messages}) from error
        return attrs


class RegistrationSerializer(FirstAdminSerializer):
    username = LineField(validators=[validate_username, refuse_reserved])
    role = RoleField(default=User.Role.USER)


class CredentialsSerializer(StrictSerializer):
    username = serializers.CharField()
    password = SecretField()


class RefreshSerializer(StrictSerializer):
    refresh = serializers.CharField()


class RowIdSerializer(serializers.Serializer):
    """The id that the collection-level PUT and PATCH carry in their body, beside what they change."""

    id = IdField()


class RowIdOnlySerializer(StrictSerializer, RowIdSerializer):
    """The whole body of the collection-level DELETE."""


class PersonSerializer(serializers.ModelSerializer):
    """An account as the task service sees it."""

    class Meta:
        model = User
        fields = ["id", "username", "email", "role", "is_active"]
