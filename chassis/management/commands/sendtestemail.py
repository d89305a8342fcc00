from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import sendtestemail


class Command(sendtestemail.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        try:
            super().handle(*args, **options)
        except OSError as error:  # the errors of smtplib are OSErrors
            raise CommandError(f"The mail cannot be sent: {' '.join(str(error).split())}; see EMAIL_URL.") from error
