"""Filters for lists, based on django-filter, that reject any value they do not understand."""

import re
from functools import lru_cache
from typing import Any

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django_filters.rest_framework import DjangoFilterBackend
from django_filters.utils import translate_validation
from rest_framework.request import Request

from chassis.api.fields import parse_date, single_line
from chassis.api.problems import excerpt
from chassis.ids import parse_id

MAX_USERS = 100  # in one filter
# The form of a username, which is never all digits. The user service knows which ones exist.
NAME_PATTERN = "(?![0-9]+$)[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
MAX_SEARCH_LENGTH = 200  # characters: each word is compared with every candidate row


class ChoicesField(forms.Field):
    """One or more choices, repeated or separated by commas: ?status=todo,completed or ?status=todo&status=completed."""

    widget = forms.MultipleHiddenInput

    def __init__(self, *, spellings: dict[str, Any], **kwargs: Any) -> None:
        self.spellings = spellings
        super().__init__(**kwargs)

    def to_python(self, value: Any) -> list[Any]:
        words = [word.strip() for item in value or [] for word in item.split(",")]
        unknown = [word for word in words if word.casefold() not in self.spellings]
        if unknown:
            known = ", ".join(dict.fromkeys(str(word) for word in self.spellings if " " not in word))
            params = {"word": excerpt(unknown[0]), "known": known}
            raise ValidationError("%(word)r is not one of: %(known)s.", code="invalid", params=params)
        return sorted({self.spellings[word.casefold()] for word in words})


class ChoiceField(forms.Field):
    """One of a fixed set of names."""

    def __init__(self, *, names: tuple[str, ...], **kwargs: Any) -> None:
        self.names = names
        super().__init__(**kwargs)

    def to_python(self, value: Any) -> Any:
        if value is not None and value not in self.names:
            raise ValidationError(f"Must be one of: {', '.join(self.names)}.", code="invalid")
        return value


class DateField(forms.Field):
    def to_python(self, value: Any) -> Any:
        try:
            return parse_date(value) if value is not None else None
        except ValueError as error:
            raise ValidationError("%(reason)s", code="invalid", params={"reason": error}) from error


class DateOrKeywordField(DateField):
    """A date, or a keyword such as "none"."""

    def __init__(self, *, keyword: str, **kwargs: Any) -> None:
        self.keyword = keyword
        super().__init__(**kwargs)

    def to_python(self, value: Any) -> Any:
        return value if value == self.keyword else super().to_python(value)


class StrictBooleanField(forms.Field):
    """true or false, in any case: clients in Python send True and False."""

    def to_python(self, value: Any) -> bool | None:
        if value is None:
            return None
        if value.lower() not in ("true", "false"):
            raise ValidationError("Must be true or false.", code="invalid")
        return is_true(value)


def is_true(text: str) -> bool:
    return text.lower() == "true"


class SearchField(forms.CharField):
    """A search text, cleaned like a title."""

    def to_python(self, value: Any) -> Any:
        text = single_line(value or "").strip()
        return super().to_python(text or value)  # a search for whitespace finds nothing


class IdField(forms.Field):
    def to_python(self, value: Any) -> int | None:
        if value is None:
            return None
        if (id_ := parse_id(value)) is None:
            raise ValidationError("Must be an id.", code="invalid")
        return id_


class UsersField(forms.Field):
    """Users, repeated or separated by commas: ids, usernames and a few keywords.

    Usernames and keywords are lowercased. A value of digits only is an id.
    """

    widget = forms.MultipleHiddenInput

    def __init__(self, *, keywords: tuple[str, ...], **kwargs: Any) -> None:
        self.keywords = keywords
        super().__init__(**kwargs)

    def to_python(self, value: Any) -> list[int | str]:
        named = [each.strip() for item in value or [] for each in item.split(",")]
        if len(named) > MAX_USERS:
            raise ValidationError(f"Must name at most {MAX_USERS} users.", code="invalid")
        if not all(parse_id(each) or re.fullmatch(NAME_PATTERN, each) for each in named):
            known = ", ".join(repr(keyword) for keyword in self.keywords)
            raise ValidationError(f"Must be ids or usernames of users, or {known}.", code="invalid")
        return [parse_id(each) or each.lower() for each in named]


class ChoicesFilter(django_filters.Filter):
    field_class = ChoicesField


class ChoiceFilter(django_filters.Filter):
    field_class = ChoiceField


class DateFilter(django_filters.Filter):
    field_class = DateField


class DateOrKeywordFilter(django_filters.Filter):
    field_class = DateOrKeywordField


class StrictBooleanFilter(django_filters.Filter):
    field_class = StrictBooleanField


class SearchFilter(django_filters.CharFilter):
    field_class = SearchField

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=MAX_SEARCH_LENGTH, strip=False, **kwargs)


class IdFilter(django_filters.Filter):
    field_class = IdField


class UsersFilter(django_filters.Filter):
    field_class = UsersField


class GivenFilters(django_filters.FilterSet):
    """A filterset whose form class is made once; django-filter makes one for each request."""

    form_class: type[forms.Form] | None = None

    def get_form_class(self) -> type[forms.Form]:
        form_class: type[forms.Form] = self.form_class or super().get_form_class()
        type(self).form_class = form_class
        return form_class


@lru_cache(maxsize=256)
def with_filters(filterset: type[django_filters.FilterSet], names: frozenset[str]) -> type[django_filters.FilterSet]:
    """Return the filterset with these filters only. Those that are not given would cost time and not filter."""
    given: type[django_filters.FilterSet] = type(filterset.__name__, (GivenFilters, filterset), {})
    given.base_filters = {name: filter_ for name, filter_ in filterset.base_filters.items() if name in names}
    return given


class StrictFilterBackend(DjangoFilterBackend):
    """Skips the form if the request has no filter. Errors are a 400 that names the parameter.

    django-filter formats messages with `%`, so messages must take text from the request from `params`.
    """

    def get_filterset(self, request: Request, queryset: QuerySet[Any], view: Any) -> Any:
        known = view.filterset_class.base_filters if view.filterset_class else {}
        if not (names := known.keys() & request.query_params.keys()):
            return None
        filterset = with_filters(view.filterset_class, frozenset(names))
        return filterset(**self.get_filterset_kwargs(request, queryset, view))


def valid_filters(request: Request, queryset: QuerySet[Any], view: Any) -> dict[str, Any]:
    """Return the values of the filters of a request that has some, or raise ValidationError."""
    filterset = StrictFilterBackend().get_filterset(request, queryset, view)
    if not filterset.is_valid():
        raise translate_validation(filterset.errors)
    values: dict[str, Any] = filterset.form.cleaned_data
    return values
