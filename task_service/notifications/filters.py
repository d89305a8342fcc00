import django_filters

from chassis.api.filters import YesNoFilter
from notifications.models import Notification


class InboxFilter(django_filters.FilterSet):
    unread = YesNoFilter(
        field_name="read_at", lookup_expr="isnull", help_text="Those that were not read yet, or those that were."
    )

    class Meta:
        model = Notification
        fields: list[str] = []
