"""What every endpoint has in common."""

from typing import Any

from django_filters import FilterSet
from rest_framework.exceptions import ErrorDetail, NotAuthenticated, ParseError, ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request

from chassis import pagination
from chassis.filters import StrictFilterBackend
from chassis.serializers import MOST_NAMED, unknown
from chassis.tokens import Caller


class Endpoint(GenericAPIView):
    """Refuse query parameters that are not known here, and repeated ones where one value is meant."""

    http_method_names = ["get", "post", "put", "patch", "delete", "head"]
    filter_backends = [StrictFilterBackend]
    query_parameters: frozenset[str] = frozenset()
    filterset_class: type[FilterSet] | None = None
    repeatable_parameters: frozenset[str] = frozenset()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        known = self.known_parameters()
        errors: dict[str, list[ErrorDetail]] = {}
        for name, values in request.query_params.lists():
            if len(errors) == MOST_NAMED:
                break
            if name not in known:
                errors[name] = [ErrorDetail(unknown("query parameter", name, known), code="unknown_parameter")]
            elif len(values) > 1 and name not in self.repeatable_parameters:
                errors[name] = [ErrorDetail("Give it once.", code="repeated_parameter")]
            elif any("\0" in value for value in values):
                errors[name] = [ErrorDetail("Must not hold a NUL character.", code="invalid")]
        if errors:
            raise ValidationError(errors)

    @property
    def body(self) -> Any:
        """The request's JSON. DRF's own `data` would be {} for an empty body."""
        if self.request.stream is None:
            raise ParseError("The body is empty; send a JSON object.")
        return self.request.data

    @property
    def caller(self) -> Caller:
        """Who is asking, on a route that only lets in who has signed in."""
        if not isinstance(self.request.user, Caller):
            raise NotAuthenticated()
        return self.request.user

    def known_parameters(self) -> frozenset[str]:
        """Return what may stand in the query: pages, ordering and filters belong to reading a list."""
        if self.request.method not in ("GET", "HEAD") or not getattr(self, "ordering_fields", None):
            return frozenset()
        filters = self.filterset_class.base_filters if self.filterset_class else {}
        return self.query_parameters | pagination.PARAMETERS | filters.keys()
