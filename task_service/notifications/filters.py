import django_filters

from chassis.api.filters import StrictBooleanFilter
from notifications.models import Notification


class InboxFilter(django_filters.FilterSet):
    unread = StrictBooleanFilter(
        field_name="read_at", lookup_expr="isnull", help_text="Whether the notification is unread."
    )

    class Meta:
        model = Notification
        fields: list[str] = []
