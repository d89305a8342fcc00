"""What every endpoint has in common."""

from http import HTTPStatus
from typing import Any, NoReturn

from django_filters import FilterSet
from rest_framework.exceptions import ErrorDetail, NotAuthenticated, ParseError, Throttled, ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.permissions import SAFE_METHODS, AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from chassis.api import etags, preconditions
from chassis.api.filters import StrictFilterBackend
from chassis.api.serializers import MAX_REPORTED_ERRORS, unknown_name
from chassis.auth import gate
from chassis.auth.tokens import Caller
from chassis.size_limits import ANONYMOUS_BODY_LIMIT_BYTES, BODY_LIMIT_BYTES

MAX_PARAMETER_LENGTH = 2048  # characters; 100 ids of 19 digits, the longest that is meant, have 1,999


class Endpoint(GenericAPIView):
    """Refuse query parameters that are not known here, and repeated ones where one value is meant."""

    tag = ""  # of its operations in the API documentation
    http_method_names = ["get", "post", "put", "patch", "delete", "head"]
    filter_backends = [StrictFilterBackend]
    # What may stand in the query of a GET, besides the filters. A list of pages says pagination.PARAMETERS.
    query_parameters: frozenset[str] = frozenset()
    filterset_class: type[FilterSet] | None = None
    repeatable_parameters: frozenset[str] = frozenset()
    ranks_search = False  # see pagination.KeysetPagination
    # The methods whose If-Match the view compares itself, and whether what it reads gets an entity tag.
    if_match_methods: frozenset[str] = frozenset()
    has_entity_tag = True

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Prepare a request as DRF does, but pass the gate before permissions are checked."""
        self.format_kwarg = None
        request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(request)
        gate.enter(self, request)
        self.check_permissions(request)
        if request.method not in self.allowed_methods:
            self.http_method_not_allowed(request, *args, **kwargs)
        preconditions.check(request, evaluated=self.evaluated_preconditions())
        self.check_query(request)

    def evaluated_preconditions(self) -> frozenset[str]:
        if self.request.method in SAFE_METHODS:
            return frozenset({"If-None-Match"} if self.has_entity_tag else ())
        return frozenset({"If-Match"} if self.request.method in self.if_match_methods else ())

    @property
    def max_body_bytes(self) -> int:
        """Return how large a body may be: where anyone is let in, nobody needs to send much."""
        return ANONYMOUS_BODY_LIMIT_BYTES if AllowAny in self.permission_classes else BODY_LIMIT_BYTES

    def check_query(self, request: Request) -> None:
        known = self.known_parameters()
        errors: dict[str, list[ErrorDetail]] = {}
        for name, values in request.query_params.lists():
            if len(errors) == MAX_REPORTED_ERRORS:
                break
            if name not in known:
                errors[name] = [ErrorDetail(unknown_name("query parameter", name, known), code="unknown_parameter")]
            elif len(values) > 1 and name not in self.repeatable_parameters:
                errors[name] = [ErrorDetail("Give it once.", code="repeated_parameter")]
            elif any(len(value) > MAX_PARAMETER_LENGTH for value in values):
                detail = f"Must have at most {MAX_PARAMETER_LENGTH} characters."
                errors[name] = [ErrorDetail(detail, code="max_length")]
            elif any("\0" in value for value in values):
                errors[name] = [ErrorDetail("Must not hold a NUL character.", code="invalid")]
        if errors:
            raise ValidationError(errors)

    def throttled(self, request: Request, wait: float | None) -> NoReturn:
        raise Throttled(wait, "Too many requests.")

    @property
    def body(self) -> Any:
        """The request's JSON."""
        self.require_body()
        return self.request.data

    def require_body(self) -> None:
        """Refuse an empty body, which DRF's own `data` would read as {}."""
        if self.request.stream is None:
            raise ParseError("The body is empty; send a JSON object.")

    @property
    def caller(self) -> Caller:
        """Who is asking, on a route that only lets in who has signed in."""
        if not isinstance(self.request.user, Caller):
            raise NotAuthenticated()
        return self.request.user

    def known_parameters(self) -> frozenset[str]:
        if self.request.method not in SAFE_METHODS:
            return frozenset()
        filters = self.filterset_class.base_filters if self.filterset_class else {}
        return self.query_parameters | filters.keys()

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Give what was read an entity tag, and a caller who has it already a 304."""
        answer = super().finalize_response(request, response, *args, **kwargs)
        if request.method in SAFE_METHODS and answer.status_code == HTTPStatus.OK and isinstance(answer, Response):
            answer.add_post_render_callback(lambda rendered: etags.conditional(request._request, rendered))
        return answer
