from accounts.models.attempt import Attempt, Device, TooManyFailures
from accounts.models.audit_event import AuditEvent, Person
from accounts.models.change import Change
from accounts.models.email_token import EmailToken, EmailTokenInvalid
from accounts.models.errors import AccountGone, LastAdmin, NameTaken, NoOpenInvitation, WrongPassword
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
    "NoOpenInvitation",
    "PasswordToken",
    "PasswordTokenInvalid",
    "Person",
    "Session",
    "TooManyFailures",
    "User",
    "WrongPassword",
]
