"""The ways by which notifications go out. A new one is a class here and a line in NOTIFICATION_CHANNEL_CLASSES."""

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
    """An event, and where its task is found; empty where the recipient finds it no more."""

    event: Event
    url: str


@dataclass(frozen=True, slots=True)
class Message:
    """What a channel sends: one or more events. The same message sent once more has the same id."""

    id: int
    recipient: User | None
    entries: tuple[Entry, ...]

    @property
    def event(self) -> Event:
        """The only event, where the channel is not personal; otherwise the first one."""
        return self.entries[0].event

    @property
    def url(self) -> str:
        return self.entries[0].url


class Channel(ABC):
    """Sends one message at a time.

    `send` returns when the message is out, or raises Skipped, PermanentFailure or TemporaryFailure of
    chassis.worker.outbox (an OSError counts as one of the last two). A personal channel gets a message for each
    recipient, about all events that were planned for them at once; another one gets a message for each event.
    """

    is_personal: ClassVar[bool] = True

    @abstractmethod
    def send(self, message: Message) -> None: ...


@cache
def channel(name: str) -> Channel:
    built: Channel = import_string(settings.NOTIFICATION_CHANNEL_CLASSES[name])()
    return built
