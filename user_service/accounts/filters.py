"""Filters of the lists of accounts and audit events."""

from datetime import UTC, date, datetime, time, timedelta
from functools import reduce
from operator import or_

import django_filters
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.db.models import Q, QuerySet

from accounts.models import AuditEvent, User
from accounts.names import fold
from chassis.addresses import normalize
from chassis.api.filters import ChoicesFilter, DateFilter, IdFilter, SearchFilter, StrictBooleanFilter


class UserFilter(django_filters.FilterSet):
    role = ChoicesFilter(
        lookup_expr="in",
        spellings={role.value: role.value for role in User.Role},
        help_text="Accounts with one of these roles.",
    )
    is_active = StrictBooleanFilter(help_text="Whether the account is active.")
    invitation = ChoicesFilter(
        method="filter_invitation",
        spellings={each.value: each.value for each in User.Invitation},
        help_text="Accounts whose invitation is in one of these states.",
    )
    search = SearchFilter(
        method="filter_search", help_text="Accounts whose username or email contains this text, in any case."
    )

    class Meta:
        model = User
        fields: list[str] = []

    def filter_invitation(self, users: QuerySet[User], name: str, states: list[str]) -> QuerySet[User]:
        pending = Q(password__startswith=UNUSABLE_PASSWORD_PREFIX)
        conditions = {
            User.Invitation.PENDING: pending,
            User.Invitation.ACCEPTED: ~pending & Q(invited_at__isnull=False),
        }
        return users.filter(reduce(or_, (conditions[User.Invitation(state)] for state in states)))

    def filter_search(self, users: QuerySet[User], name: str, text: str) -> QuerySet[User]:
        return users.filter(Q(username_key__contains=fold(text)) | Q(email_key__contains=fold(normalize(text))))


class AuditEventFilter(django_filters.FilterSet):
    event = ChoicesFilter(
        lookup_expr="in",
        spellings={event.value: event.value for event in AuditEvent.Event},
        help_text="Events of one of these kinds.",
    )
    actor = IdFilter(field_name="actor_id", help_text="Events that this account caused.")
    subject = IdFilter(field_name="subject_id", help_text="Events that concern this account.")
    after = DateFilter(method="filter_after", help_text="Events on this date (UTC) or later.")
    before = DateFilter(method="filter_before", help_text="Events on this date (UTC) or earlier.")

    class Meta:
        model = AuditEvent
        fields: list[str] = []

    def filter_after(self, events: QuerySet[AuditEvent], name: str, day: date) -> QuerySet[AuditEvent]:
        return events.filter(at__gte=start_of_day(day))

    def filter_before(self, events: QuerySet[AuditEvent], name: str, day: date) -> QuerySet[AuditEvent]:
        return events.filter(at__lt=start_of_day(day + timedelta(days=1)))


def start_of_day(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)
