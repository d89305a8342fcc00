"""Days in TIME_ZONE."""

from datetime import date, datetime, time, timedelta

from django.conf import settings
from django.utils import timezone


def midnight(day: date) -> datetime:
    """Return the beginning of a day in TIME_ZONE."""
    return datetime.combine(day, time.min, timezone.get_current_timezone())


def due_soon_range() -> tuple[date, date]:
    today = timezone.localdate()
    return today, today + timedelta(days=settings.DUE_SOON_DAYS)
