from collections.abc import Mapping

from accounts.models import Mail, User
from chassis.ops import env
from chassis.ops.doctor import DoctorCommand, outbox
from chassis.ops.findings import Check, Finding, manage, ok, unsure, wrong


class Command(DoctorCommand):
    def stored(self) -> Mapping[str, Check]:
        return {"mails": mails, "admin": admin}


def mails() -> Finding:
    return outbox(Mail.objects.all(), noun="mails", remedy="mend what the reason says; people may ask for them again")


def admin() -> Finding:
    names = list(User.objects.active_admins().order_by("pk").values_list("username", flat=True)[:4])
    if not names:
        return wrong(f"no admin is active; set ADMIN_PASSWORD and run: {manage('ensure_admin')}")
    text = f"active: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
    name, password = env.text("ADMIN_USERNAME", "admin"), env.given("ADMIN_PASSWORD")
    if password and not User.objects.is_admin_with(name, password):
        return unsure(f"{text}; ADMIN_PASSWORD is not the password of an admin called {name}, so take it out of .env")
    return ok(text)
