from accounts.models.attempt import Attempt, Device, TooManyFailures
from accounts.models.audit_event import AuditEvent, Principal
from accounts.models.change import Change
from accounts.models.email_token import EmailToken, EmailTokenInvalid
from accounts.models.errors import AccountGone, LastAdmin, NameTaken, NoPendingInvitation, WrongPassword
from accounts.models.idempotency_record import IdempotencyRecord
from accounts.models.mail import Mail
from accounts.models.password_token import PasswordToken, PasswordTokenInvalid
from accounts.models.session import Session
from accounts.models.user import User

__all__ = [
    "AccountGone",
    "Attempt",
    "AuditEvent",
    "Change",
    "Device",
    "EmailToken",
    "EmailTokenInvalid",
    "IdempotencyRecord",
    "LastAdmin",
    "Mail",
    "NameTaken",
    "NoPendingInvitation",
    "PasswordToken",
    "PasswordTokenInvalid",
    "Principal",
    "Session",
    "TooManyFailures",
    "User",
    "WrongPassword",
]
