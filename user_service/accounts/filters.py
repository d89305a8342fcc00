"""The filters of the list of accounts."""

import django_filters
from django.db.models import Q, QuerySet

from accounts.models import User
from accounts.names import fold
from chassis.filters import MAX_SEARCH_LENGTH, WordsFilter, YesNoFilter


class UserFilter(django_filters.FilterSet):
    role = WordsFilter(lookup_expr="in", spellings={role.value: role.value for role in User.Role})
    is_active = YesNoFilter()
    search = django_filters.CharFilter(method="filter_search", strip=False, max_length=MAX_SEARCH_LENGTH)

    class Meta:
        model = User
        fields: list[str] = []

    def filter_search(self, users: QuerySet[User], name: str, text: str) -> QuerySet[User]:
        """Keep accounts whose username or email holds the text, in any case."""
        return users.filter(Q(username_key__contains=fold(text)) | Q(email_key__contains=fold(text)))
