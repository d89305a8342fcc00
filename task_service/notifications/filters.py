import django_filters

from chassis.api.filters import StrictBooleanFilter
from notifications.models import Notification


class InboxFilter(django_filters.FilterSet):
    unread = StrictBooleanFilter(field_name="read_at", lookup_expr="isnull")

    class Meta:
        model = Notification
        fields: list[str] = []
