"""How the commands of the operator make an admin: by the same rules as every other account."""

from collections.abc import Callable, Mapping

from django.core.management.base import CommandError

from accounts.models import User
from accounts.serializers import NewAccountSerializer


def create_admin(values: Mapping[str, str], *, label: Callable[[str], str]) -> User:
    """Make an admin, or raise NameTaken, or a CommandError that calls each field what the operator calls it."""
    serializer = NewAccountSerializer(data=values)
    if not serializer.is_valid():
        field, errors = next(iter(serializer.errors.items()))
        raise CommandError(f"{label(field)} cannot be used: {errors[0]}")
    return User.objects.register(**serializer.validated_data, role=User.Role.ADMIN)
