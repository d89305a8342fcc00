"""The least that a service adds to keep answers, and something to make."""

from django.db import models

from chassis.api import idempotency


class IdempotencyRecord(idempotency.IdempotencyRecord):
    pass


class Note(models.Model):
    text = models.TextField()

    def __str__(self):
        return self.text
