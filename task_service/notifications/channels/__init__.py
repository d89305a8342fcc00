"""The channels that send notifications. A new one is a class here and a line in NOTIFICATION_CHANNEL_CLASSES."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

from django.conf import settings
from django.utils.module_loading import import_string

from directory.models import User
from notifications.models import Event


@dataclass(frozen=True, slots=True)
class Entry:
    """An event and the URL of its task; the URL is empty if the recipient can no longer see the task."""

    event: Event
    url: str


@dataclass(frozen=True, slots=True)
class Message:
    """One or more events, sent together. A repeated message has the same id."""

    id: int
    recipient: User | None
    entries: tuple[Entry, ...]

    @property
    def event(self) -> Event:
        """The first event; for a channel that is not personal, the only one."""
        return self.entries[0].event

    @property
    def url(self) -> str:
        return self.entries[0].url


class Channel(ABC):
    """Sends one message at a time.

    `send` returns when the message is out, or raises Skipped, PermanentFailure or TemporaryFailure of
    chassis.worker.outbox (an OSError counts as one of the last two). A personal channel gets one message per recipient,
    about all events that were planned together; other channels get one message per event.
    """

    is_personal: ClassVar[bool] = True

    @abstractmethod
    def send(self, message: Message) -> None: ...


@cache
def channel(name: str) -> Channel:
    built: Channel = import_string(settings.NOTIFICATION_CHANNEL_CLASSES[name])()
    return built
