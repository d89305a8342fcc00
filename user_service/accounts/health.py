"""Health checks of mails and accounts."""

from django.conf import settings

from accounts.models import Mail, User
from chassis.ops import checks, env
from chassis.ops.checks import Check
from chassis.ops.findings import Finding, State, manage_command, ok, unsure, wrong
from chassis.ops.settings import admin_username


def mails() -> Finding:
    waiting = Mail.objects.all()
    sendable = waiting.none() if settings.MAILS_ARE_HELD else waiting
    return checks.outbox(waiting, one="mail", many="mails", sendable=sendable)


def held() -> Finding:
    return checks.held_mails(Mail.objects.all())


def failed() -> Finding:
    remedy = "fix the cause; users can request them again"
    return checks.failed(Mail.objects.all(), many="mails", remedy=remedy)


def admin() -> Finding:
    names = list(User.objects.active_admins().order_by("pk").values_list("username", flat=True)[:4])
    if not names:
        return wrong(f"no admin is active; set ADMIN_PASSWORD and run: {manage_command('ensure_admin')}")
    text = f"active: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
    name, password = admin_username(), env.raw_value("ADMIN_PASSWORD")
    if password and not User.objects.is_admin_password(name, password):
        return unsure(f"{text}; ADMIN_PASSWORD is not the password of an admin named {name}; remove it from .env")
    return ok(text)


CHECKS = [
    Check("mails", mails, degrades=(State.WRONG,), measured=True),
    Check("held", held, degrades=(State.UNSURE,)),
    Check("failed", failed, measured=True),
    Check("admin", admin),
]
