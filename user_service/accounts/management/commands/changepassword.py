import getpass
from typing import Any

from django.contrib.auth.management.commands import changepassword
from django.core.management.base import CommandError

from accounts.models import User


class Command(changepassword.Command):
    help = "Set the password of an account, given its username or email. Ends all its sessions and notifies the owner."

    def handle(self, *args: Any, **options: Any) -> Any:
        login = options["username"] or getpass.getuser()
        user = User.objects.with_login(login).first()
        if user is None:
            raise CommandError(f"No account has the username or email {login!r}.")
        try:
            return super().handle(*args, **options | {"username": user.get_username()})
        except (EOFError, KeyboardInterrupt) as error:
            raise CommandError("The password is unchanged.") from error
