"""The email address of an account: set by an admin, or confirmed with a token mailed to it."""

from typing import Any, ClassVar

from django.db import models

from accounts.models.audit_event import AuditEvent, Principal
from accounts.models.change import Change
from accounts.models.errors import NameTaken
from accounts.models.mail import Mail
from accounts.names import fold

UNREACHABLE_SUFFIX = ".invalid"  # reserved by RFC 2606; the first admin has such an address by default


class EmailAddressMixin(models.Model):
    """Call the methods that change an account while its row is locked."""

    email = models.EmailField(max_length=254)
    # Whether the owner has confirmed the address, or an admin has set it.
    email_confirmed = models.BooleanField(default=True, db_default=True)
    # Becomes the address of the account when it is confirmed.
    pending_email = models.EmailField(max_length=254, null=True)  # noqa: DJ001  # the API says null too
    # Unique: "a@x.com" and "A@x.com" are one address.
    email_key = models.TextField(editable=False)
    # Defined by the subclass.
    id: Any
    username: Any
    is_pending: Any
    email_tokens: Any
    password_tokens: Any

    ADDRESS_FIELDS: ClassVar[tuple[str, ...]] = ("email", "email_key", "email_confirmed", "pending_email")

    class Meta:
        abstract = True

    def request_email(self, address: str) -> None:
        """Store a new address as pending and mail a token to it. Raise NameTaken if another account has it."""
        if type(self)._default_manager.exclude(pk=self.pk).filter(email_key=fold(address)).exists():
            raise NameTaken("email")
        self.cancel_email_change()
        self.pending_email = address
        Mail.objects.plan_to(Mail.Kind.EMAIL_CONFIRMATION, self, address)

    def confirm_email(self, address: str) -> bool:
        """Replace the address by the pending one, or mark it as confirmed. Return False if it is neither."""
        if not self.needs_confirmation(address):
            return False
        if address == self.pending_email:
            self.notify(Mail.Kind.EMAIL_CHANGED, by=self)
            self.email = address
            self.revoke_mailed_tokens()  # also reset tokens mailed to the old address
        self.email_confirmed = True
        self.email_tokens.filter(email=address).delete()
        self.save(update_fields=self.ADDRESS_FIELDS)
        AuditEvent.objects.record(AuditEvent.Event.USER_UPDATED, by=self, subject=self, fields=["email"])
        Change.objects.record(self.pk)
        return True

    def needs_confirmation(self, address: str) -> bool:
        return address == self.pending_email or (address == self.email and not self.email_confirmed)

    def address_to_confirm(self) -> str | None:
        return self.pending_email or (None if self.email_confirmed else self.email)

    def notify(self, *kinds: Mail.Kind, by: Principal | None) -> None:
        """Mail the owner about one change, if the address is confirmed: nothing goes to a stranger's inbox.

        The address of a pending account may be wrong, even if an admin has set it. Call this in the transaction of the
        change. `by` is None for the operator and the service.
        """
        if kinds and self.email_confirmed and not self.is_pending and not self.email_key.endswith(UNREACHABLE_SUFFIX):
            by_admin = by is None or by.id != self.pk
            Mail.objects.plan_to(kinds[0], self, self.email, also=list(kinds[1:]), by_admin=by_admin)

    def cancel_email_change(self) -> None:
        self.pending_email = None
        self.email_tokens.exclude(email=self.email).delete()

    def revoke_mailed_tokens(self) -> None:
        """Revoke all mailed tokens, because the address changes or the account is deactivated."""
        if self.address_to_confirm():  # otherwise no such token has any effect
            self.email_tokens.all().delete()
        self.pending_email = None
        self.password_tokens.all().delete()
