"""The least that a service adds to an outbox."""

from django.db import models

from chassis.worker.outbox import Delivery


class Letter(Delivery):
    channel = models.CharField(max_length=5, default="email")
    text = models.TextField()
