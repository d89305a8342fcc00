from accounts.models.attempt import Attempt, TooManyFailures
from accounts.models.change import Change
from accounts.models.email_token import EmailToken, EmailTokenInvalid
from accounts.models.kept_answer import KeptAnswer
from accounts.models.mail import Mail
from accounts.models.password_token import PasswordToken, PasswordTokenInvalid
from accounts.models.session import Session
from accounts.models.user import AccountGone, LastAdmin, NameTaken, User, WrongPassword

__all__ = [
    "AccountGone",
    "Attempt",
    "Change",
    "EmailToken",
    "EmailTokenInvalid",
    "KeptAnswer",
    "LastAdmin",
    "Mail",
    "NameTaken",
    "PasswordToken",
    "PasswordTokenInvalid",
    "Session",
    "TooManyFailures",
    "User",
    "WrongPassword",
]
