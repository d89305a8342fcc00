"""Letters in the outbox, and a postbox that can reject them."""

from django.utils import timezone

from chassis.tests.outbox_app.models import Letter

FINISHED = [
    {"state": "sent", "sent_at": timezone.now()},
    {"state": "skipped", "reason": "the task is completed"},
    {"state": "failed", "reason": "550 no such user"},
]


class Postbox:
    """Accepts letters, or raises the error that `errors` has for their text."""

    def __init__(self, **errors):
        self.errors, self.sent = errors, []

    def __call__(self, letter):
        if letter.text in self.errors:
            raise self.errors[letter.text]
        self.sent.append(letter.text)


def plan(text="hello", **values):
    return Letter.objects.create(text=text, **values)


def plan_all(*texts, **values):
    return [plan(text, **values) for text in texts]


def claim(limit=1):
    return Letter.objects.claim(limit, lease_seconds=60)


def claim_one():
    (letter,) = claim()
    return letter


def states():
    return dict(Letter.objects.values_list("text", "state"))
