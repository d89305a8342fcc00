"""What the OpenAPI document derives, and how tests find undocumented responses."""

import re
from contextlib import nullcontext
from types import SimpleNamespace

import django_filters
import pytest
from django.urls import path
from drf_yasg.openapi import Response as Described
from drf_yasg.utils import swagger_auto_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import AllowAny
from rest_framework.response import Response

from chassis.api import etags, fields, filters, pagination
from chassis.api.idempotency import idempotent
from chassis.api.problems import Conflict
from chassis.api.serializers import OutputSerializer, StrictSerializer
from chassis.api.views import Endpoint
from chassis.auth.gate import ServiceAuthentication
from chassis.auth.permissions import AdminWritesOnceVisible, IsAdmin, IsAuthenticated, IsService, ReadOnly
from chassis.openapi import inspectors, schemas
from chassis.openapi.auto_schema import AutoSchema
from chassis.openapi.generator import Generator
from chassis.openapi.pages import Documentation
from chassis.testing.documented_responses import undocumented
from chassis.testing.forge import claims, signed
from chassis.testing.openapi_document import Document
from chassis.tests.idempotency_app.models import IdempotencyRecord
from chassis.tests.urls import Row


class ThingSerializer(StrictSerializer):
    id = fields.IdField(read_only=True)
    name = fields.SingleLineField(max_length=9, help_text="What it is called.")
    text = fields.StringField(allow_blank=True, default="")
    due_date = fields.DateField(allow_null=True, default=None)
    is_big = fields.StrictBooleanField(default=True)
    secret = fields.SecretField(default=None)


class ThingIdSerializer(OutputSerializer):
    id = fields.IdField()


class ThingFilter(django_filters.FilterSet):
    color = filters.ChoicesFilter(spellings={"red": 1, "light blue": 2, "blue": 2, "azure": 2})
    made = filters.DateFilter(help_text="Made on this date.")
    owner = filters.UsersFilter(keywords=("me", "none"))
    is_big = filters.StrictBooleanFilter()
    search = django_filters.CharFilter(max_length=50)


def described(name, **options):
    return swagger_auto_schema(operation_id=name, operation_summary=name, **options)


ONE_THING = {200: Described("The thing.", ThingIdSerializer)}


class Things(Endpoint):
    tag = "Things"
    permission_classes = [IsAuthenticated & (ReadOnly | IsAdmin)]
    serializer_class = ThingSerializer
    filterset_class = ThingFilter
    query_parameters = pagination.PARAMETERS
    ordering_fields = ["name", "id"]
    default_ordering = "-id"
    says = {"next": None, "previous": None, "results": []}

    @described("list", responses={200: "Things."})
    def get(self, request):
        return Response(self.says)

    @described("make", responses={201: "The new thing."}, headers=["Location"], example={"name": "ball"})
    @idempotent(IdempotencyRecord)
    def post(self, request):
        raise Conflict()


class OneThing(Row):
    permission_classes = [IsAuthenticated & AdminWritesOnceVisible]
    tag = "Things"
    if_match_methods = frozenset({"PATCH"})

    @described("read", responses=ONE_THING)
    def get(self, request, row_id):
        return super().get(request, row_id)

    @described("change", request_body=ThingSerializer, responses=ONE_THING)
    def patch(self, request, row_id):
        return Response({"id": row_id})


class Open(Endpoint):
    tag = "Things"
    authentication_classes = []
    permission_classes = [AllowAny]
    throttle_classes = []
    status = 204

    @described("open", responses={204: "It is open now.", 409: "It is open."})
    def post(self, request):
        return Response(status=self.status, headers={"Location": "/things/1/"} if self.status == 204 else {})


class OfServices(Endpoint):
    authentication_classes = [ServiceAuthentication]
    permission_classes = [IsService]

    def get(self, request):
        return Response({})


urlpatterns = [
    path("open/", Open.as_view()),
    path("things/", Things.as_view()),
    path("things/<id:row_id>/", OneThing.as_view()),
    path("internal/", OfServices.as_view()),
]
TAGS = {"Things": "What there is."}


@pytest.fixture(autouse=True)
def document(settings):
    settings.ROOT_URLCONF = __name__
    return Document(Documentation("Things", TAGS))


@pytest.fixture
def user():
    return {"Authorization": f"Bearer {signed(claims())}"}


def statuses(document, call):
    return {int(status) for status in document.operations[call]["responses"] if status != "default"}


def test_the_document_is_valid_and_excludes_internal_operations(document):
    document.assert_valid()
    assert list(document.operations) == [
        *("POST /open/", "GET /things/", "POST /things/", "GET /things/{id}/", "PATCH /things/{id}/")
    ]


def test_statuses_are_derived_from_the_view(document):
    common = {400, 401, 429, 503}

    assert statuses(document, "GET /things/") == common | {200, 304}
    assert statuses(document, "POST /things/") == common | {201, 403, 409, 413, 415, 422}
    assert statuses(document, "GET /things/{id}/") == common | {200, 304, 404}
    assert statuses(document, "PATCH /things/{id}/") == common | {200, 403, 404, 412, 413, 415}
    assert statuses(document, "POST /open/") == {204, 400, 409, 503}


def test_declared_and_derived_statuses_are_both_listed(document):
    keyed, by_hand = (document.operations[call]["responses"]["409"] for call in ("POST /things/", "POST /open/"))

    assert keyed["description"] == "The first request with this `Idempotency-Key` is still running."
    assert by_hand["description"] == "It is open."
    for header in ("Retry-After", "RateLimit"):  # requests to /open/ are not counted
        assert (header in keyed["headers"], header in by_hand["headers"]) == (True, False)


def test_an_example_error_is_a_real_error(document):
    responses = document.operations["POST /things/"]["responses"]
    examples = [responses[status]["examples"]["application/problem+json"] for status in ("400", "403", "409", "422")]

    codes = ["invalid", "permission_denied", "idempotency_key_in_use", "idempotency_key_reused"]
    assert [example["code"] for example in examples] == codes


def test_the_document_is_built_once(monkeypatch):
    built, get_schema = [], Generator.get_schema
    monkeypatch.setattr(Generator, "get_schema", lambda generator: built.append(1) or get_schema(generator))
    documentation = Documentation("Things", TAGS)

    assert documentation.json == documentation.json
    assert documentation.yaml == documentation.yaml
    assert built == [1]


def test_filters_are_typed(document):
    found = document.parameters("GET /things/", "query")

    assert found["color"]["items"] == {"type": "string", "enum": ["red", "light blue"]}
    assert (found["color"]["collectionFormat"], found["color"]["minItems"]) == ("csv", 1)
    assert (found["made"]["type"], found["made"]["format"]) == ("string", "date")
    assert found["made"]["pattern"] == schemas.value_schema(fields.DateField())["pattern"]
    assert found["made"]["description"] == "Made on this date."
    owner = found["owner"]["items"]["pattern"]
    assert [bool(re.search(owner, text)) for text in ("me", "7", "alice", "0", "-1", "a b")] == [True] * 3 + [False] * 3
    assert "in any case" in found["is_big"]["description"]
    assert found["is_big"]["type"] == "boolean"
    assert (found["search"]["maxLength"], found["search"]["pattern"]) == (50, r"^[^\u0000]*$")
    assert found["ordering"]["enum"] == ["name", "-name", "id", "-id"]
    assert (found["page_size"]["minimum"], found["page_size"]["maximum"]) == (1, 100)
    assert found.keys() == {"color", "made", "owner", "is_big", "search", "ordering", "page_size", "cursor"}
    assert document.parameters("POST /things/", "query") == {}


def test_any_request_id_is_accepted(document, client):
    assert "pattern" not in document.parameters("POST /open/", "header")["X-Request-ID"]
    assert client.post("/open/", headers={"X-Request-ID": "{}"}).status_code == 204


VALID_TAGS = ["*", '"3.1f2e3d4c5b6a"', 'W/"3.1f2e3d4c5b6a"', '"1.a", "2.b"', '"a,b"', '""']
INVALID_TAGS = ["", "3", '"3', "W/", "{}", "**", '"1" "2"', '"1", 2', "'3'"]


@pytest.mark.parametrize("tag", VALID_TAGS + INVALID_TAGS)
def test_the_pattern_of_if_match_matches_what_is_accepted(document, tag):
    pattern = document.parameters("PATCH /things/{id}/", "header")["If-Match"]["pattern"]
    accepts = nullcontext() if tag in VALID_TAGS else pytest.raises(ValidationError)

    assert bool(re.search(pattern, tag)) == (tag in VALID_TAGS)
    with accepts:
        etags.if_match(SimpleNamespace(headers={"If-Match": tag}))


TEXTS = ["a", "two words", "\u00fc\u4e2d\U0001f600", "a\tb", "a\nb", "a\u2028b", "a\x0bb\x0cc\x85d"]
TEXTS += [*"\0\x07\x1f\x7f\u202e\u2066\ufeff"]
DAYS = ["2000-01-01", "2100-12-31", "2026-02-28", "1999-12-31", "2101-01-01", "2026-13-01", "2026-1-1", "0429-05-30"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((field, text) for field in (fields.StringField(), fields.SingleLineField()) for text in TEXTS),
        *((fields.DateField(), day) for day in DAYS),
    ],
)
def test_a_field_accepts_what_its_pattern_matches(field, value):
    try:
        taken = bool(field.run_validation(value))
    except ValidationError:
        taken = False

    assert bool(re.search(schemas.value_schema(field)["pattern"], value)) == taken


def test_a_schema_depends_on_its_mode(document):
    definitions = document.spec["definitions"]
    shown, made, changed = (definitions[name] for name in ("Thing", "NewThing", "ThingPatch"))

    assert shown["properties"].keys() == {"id", "name", "text", "due_date", "is_big"}
    assert made["properties"].keys() == {"name", "text", "due_date", "is_big", "secret"}
    assert changed["properties"].keys() == {"id", *made["properties"]}
    assert (made["required"], "required" in changed) == (["name"], False)
    assert set(shown["required"]) == shown["properties"].keys()
    assert "additionalProperties" not in shown
    assert made["additionalProperties"] is changed["additionalProperties"] is False
    assert "readOnly" not in shown["properties"]["id"]
    assert changed["properties"]["id"]["readOnly"] is True
    assert made["properties"]["secret"]["pattern"] == r"^[^\u0000]*$"
    assert shown["properties"]["name"]["description"] == "What it is called."
    assert shown["properties"]["due_date"]["x-nullable"] is True
    assert "x-nullable" not in made["properties"]["secret"]
    assert (made["properties"]["is_big"]["default"], made["properties"]["text"]["default"]) == (True, "")


def test_a_problem_schema_allows_those_of_the_gateway(document):
    definitions = document.spec["definitions"]

    for name in ("Problem", "StaleProblem"):
        assert definitions[name]["properties"].keys() - set(definitions[name]["required"]) == {"instance"}


def test_a_field_or_filter_without_a_schema_is_an_error():
    class Odd(serializers.Serializer):
        field = serializers.FileField()

    inspector = inspectors.SerializerInspector(None, "", "GET", None, None, AutoSchema.field_inspectors)
    with pytest.raises(TypeError, match="FileField field"):
        inspector.object_schema(Odd())
    with pytest.raises(TypeError, match="NumberFilter count"):
        inspectors.parameter("count", django_filters.NumberFilter())


def wrong(document, answer):
    return list(undocumented(document, answer))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *[("GET", "/things/"), ("GET", "/things/?limit=1"), ("HEAD", "/things/"), ("GET", "/things/7/")],
        *[("DELETE", "/things/"), ("GET", "/internal/"), ("GET", "/nowhere/")],
    ],
)
def test_a_documented_response_has_no_complaints(document, client, user, method, path):
    assert wrong(document, client.generic(method, path, headers=user)) == []
    assert wrong(document, client.generic(method, path)) == []


@pytest.mark.parametrize(
    ("status", "complaint"),
    [(202, "202 is not documented"), (204, "204 has a header Location that is not documented")],
)
def test_an_undocumented_status_or_header_is_reported(monkeypatch, document, client, status, complaint):
    monkeypatch.setattr(Open, "status", status)

    assert wrong(document, client.post("/open/")) == [f"POST /open/: {complaint}"]


PAGE = {"next": None, "previous": None, "results": []}
UNEXPECTED = "Additional properties are not allowed ('count' was unexpected)"


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ({"next": None, "previous": None}, "$: 'results' is a required property"),
        (PAGE | {"count": 0}, f"$: {UNEXPECTED}"),
        (PAGE | {"next": 1}, "$.next: 1 is not of type 'string', 'null'"),
        (PAGE | {"results": [{"id": 1}]}, "$.results[0]: 'name' is a required property"),
    ],
)
def test_an_undocumented_body_is_reported(monkeypatch, document, client, user, says, expected):
    monkeypatch.setattr(Things, "says", says)

    assert f"GET /things/: 200 at {expected}" in wrong(document, client.get("/things/", headers=user))
