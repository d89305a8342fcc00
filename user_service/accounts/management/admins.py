from collections.abc import Callable, Mapping

from django.core.management.base import CommandError

from accounts.models import User
from accounts.serializers import NewAccountSerializer


def create_admin(values: Mapping[str, str], *, label: Callable[[str], str]) -> User:
    """Create an admin by the rules of every new account; `label` returns the name of a field in an error message.

    Raises NameTaken and CommandError.
    """
    serializer = NewAccountSerializer(data=values)
    if not serializer.is_valid():
        field, errors = next(iter(serializer.errors.items()))
        raise CommandError(f"{label(field)} cannot be used: {errors[0]}")
    return User.objects.register(**serializer.validated_data, role=User.Role.ADMIN)
