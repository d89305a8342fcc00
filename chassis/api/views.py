"""The base class of all endpoints."""

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

MAX_PARAMETER_LENGTH = 2048  # characters; 100 ids of 19 digits have 1,999


class Endpoint(GenericAPIView):
    """Rejects unknown query parameters, and repeated ones where a single value is expected."""

    tag = ""  # of its operations in the API documentation
    http_method_names = ["get", "post", "put", "patch", "delete", "head"]
    filter_backends = [StrictFilterBackend]
    # Query parameters of a GET besides the filters; pagination.PARAMETERS for a paginated list.
    query_parameters: frozenset[str] = frozenset()
    filterset_class: type[FilterSet] | None = None
    repeatable_parameters: frozenset[str] = frozenset()
    ranks_search = False  # see pagination.KeysetPagination
    # Methods for which the view evaluates If-Match, and whether responses to GET have an entity tag.
    if_match_methods: frozenset[str] = frozenset()
    has_entity_tag = True

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Like DRF's, but with gate.enter instead of DRF's order: rate limits come before permissions."""
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
        """The size limit of the body, lower on anonymous routes."""
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
                errors[name] = [ErrorDetail("Must not be repeated.", code="repeated_parameter")]
            elif any(len(value) > MAX_PARAMETER_LENGTH for value in values):
                detail = f"Must have at most {MAX_PARAMETER_LENGTH} characters."
                errors[name] = [ErrorDetail(detail, code="max_length")]
            elif any("\0" in value for value in values):
                errors[name] = [ErrorDetail("Must not contain a NUL character.", code="invalid")]
        if errors:
            raise ValidationError(errors)

    def throttled(self, request: Request, wait: float | None) -> NoReturn:
        raise Throttled(wait, "Too many requests.")

    @property
    def body(self) -> Any:
        """The parsed JSON body."""
        self.require_body()
        return self.request.data

    def require_body(self) -> None:
        """Reject an empty body, which DRF's `data` would parse as {}."""
        if self.request.stream is None:
            raise ParseError("The body is empty; send a JSON object.")

    @property
    def caller(self) -> Caller:
        """The signed-in caller."""
        if not isinstance(self.request.user, Caller):
            raise NotAuthenticated()
        return self.request.user

    def known_parameters(self) -> frozenset[str]:
        if self.request.method not in SAFE_METHODS:
            return frozenset()
        filters = self.filterset_class.base_filters if self.filterset_class else {}
        return self.query_parameters | filters.keys()

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Add an entity tag to a successful GET, or return a 304 if the client already has it."""
        final: Any = super().finalize_response(request, response, *args, **kwargs)
        if request.method not in SAFE_METHODS or final.status_code != HTTPStatus.OK or final.streaming:
            return final
        if not isinstance(final, Response):
            return etags.conditional(request._request, final)
        final.add_post_render_callback(lambda rendered: etags.conditional(request._request, rendered))
        return final
