"""Assertions on the document and its pages, for every service."""

import json
import re
from urllib.parse import urlsplit

import yaml
from django.urls import get_resolver

from chassis.testing import permission_table

PAGES = ("docs", "redoc")
FILES = ("swagger.json", "swagger.yaml")
NOT_PUBLIC = re.compile("/(?:metrics|internal|[a-z]+/(?:health|docs|redoc|swagger.json|swagger.yaml))")
LOADED = re.compile(r"""(?:src|href|action|srcset|data|poster)=["']([^"']*)["']""")
EXECUTED = re.compile(r"<script(?![^>]*(?:\bsrc=|type=\"application/json\"))[^>]*>")


def assert_complete(document):
    calls = {call for call in permission_table.routed_calls() if not NOT_PUBLIC.match(call.split()[1])}

    assert set(document.operations) == calls


def assert_everything_is_described(document):
    tags = {tag["name"] for tag in document.spec["tags"]}
    operations = document.operations.values()

    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert {tag for operation in operations for tag in operation["tags"]} == tags
    for call, operation in document.operations.items():
        assert operation["summary"], call
        described = [*operation["parameters"], *operation["responses"].values()]
        assert all(each.get("description") or each.get("in") == "body" for each in described), call


def wrong_examples(document):
    for call, operation in document.operations.items():
        for body in document.parameters(call, "body").values():
            example = document.spec["definitions"][body["schema"]["$ref"].rpartition("/")[2]]["example"]
            yield from ((call, "body", wrong) for wrong in document.body_errors(call, example))
        for status, response in operation["responses"].items():
            for media_type, example in response.get("examples", {}).items():
                if "json" in media_type:
                    yield from ((call, status, wrong) for wrong in document.response_errors(call, status, example))


def answers_without_examples(document):
    return [
        f"{call}: {status}"
        for call, operation in document.operations.items()
        for status, response in operation["responses"].items()
        if "schema" in response and status != "default" and not response.get("examples")
    ]


def assert_loads_nothing_from_elsewhere(client, prefix):
    for name in PAGES:
        page = client.get(f"/{prefix}/{name}/")
        html = page.content.decode()
        loaded = [url for url in LOADED.findall(html) if not url.endswith("oauth2-redirect.html")]

        assert page["Content-Type"] == "text/html; charset=utf-8"
        assert len(loaded) >= 5
        assert all(url.startswith(f"/{prefix}/static/") for url in loaded)
        assert [permission_table.read(client.get(url)).status_code for url in loaded] == [200] * len(loaded)
        assert EXECUTED.findall(html) == []
        assert "style=" not in html
        assert "<style" not in html
        for script in (url for url in loaded if url.endswith("-init.js") or "/tmservice/" in url):
            assert_names_no_host(client.get(script).getvalue().decode())


def assert_names_no_host(script):
    code = "\n".join(line for line in script.splitlines() if not line.lstrip().startswith("//"))
    assert re.findall(r"https?://\w|[\"']//\w", code) == []


def assert_policy_is_narrow(client, prefix):
    for name in PAGES:
        policy = dict(
            part.strip().split(" ", 1) for part in content_policy(client.get(f"/{prefix}/{name}/")).split(";")
        )

        assert policy["default-src"] == "'self'"
        assert policy["object-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
        assert not {"script-src", "connect-src", "font-src"} & set(policy)
        assert not re.search(r"https?:|\*|unsafe-eval", " ".join(policy.values()))
        assert ("style-src" in policy) == (name == "redoc")
        assert_revalidates(client, f"/{prefix}/{name}/")
    for file in FILES:
        assert content_policy(client.get(f"/{prefix}/{file}")) == "default-src 'none'; frame-ancestors 'none'"


def assert_revalidates(client, path):
    """A 304 must repeat the headers, since it replaces those that the browser has cached."""
    first = client.get(path)
    again = client.get(path, headers={"If-None-Match": first["ETag"]})

    assert (first["Cache-Control"], again.status_code) == ("no-cache", 304)
    assert all(again[name] == first[name] for name in ("ETag", "Cache-Control", "Content-Security-Policy"))


def content_policy(answer):
    assert answer.status_code == 200
    return answer["Content-Security-Policy"]


def page_settings(client, prefix, name):
    """Return the settings that a page passes to its script."""
    html = client.get(f"/{prefix}/{name}/").content.decode()
    script = {"docs": "swagger-settings", "redoc": "redoc-settings"}[name]
    return json.loads(re.search(rf'<script id="{script}" type="application/json">(.*?)</script>', html).group(1))


def assert_pages_ask_for_the_document_alone(client, prefix):
    swagger, redoc = (page_settings(client, prefix, name) for name in PAGES)

    assert swagger["url"] == redoc["url"] == f"/{prefix}/swagger.json"
    assert swagger["validatorUrl"] is None
    assert "fetchSchemaWithQuery" not in swagger or swagger["fetchSchemaWithQuery"] is False
    assert b"django-session-auth" not in client.get(f"/{prefix}/docs/").content


def assert_document_is_served(client, prefix, document):
    as_json, as_yaml = (client.get(f"/{prefix}/{file}") for file in FILES)

    assert as_json["Content-Type"] == "application/json"
    assert as_yaml["Content-Type"] == "application/yaml"
    assert as_json.json() == yaml.safe_load(as_yaml.content) == document.spec
    assert urlsplit(document.spec["basePath"]).path == "/"
    assert not {"host", "schemes"} & set(document.spec)
    for answer in (as_json, as_yaml):
        again = client.get(answer.request["PATH_INFO"], headers={"If-None-Match": answer["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert "RateLimit" not in answer.headers


def assert_parameters_are_known(document, views):
    """`views` are the view classes by route."""
    for call in document.operations:
        method, route = call.split()
        known = known_parameters(views[route]) if method == "GET" else set()

        assert set(document.parameters(call, "query")) == known, call


def known_parameters(view):
    return {*view.query_parameters, *(view.filterset_class.base_filters if view.filterset_class else ())}


def views_by_route():
    routed = permission_table.routed_views(get_resolver().url_patterns)
    return {route: view.view_class for route, view in routed if hasattr(view, "view_class")}


def samples(parameter):
    """Return valid values of a query parameter, by its description in the document."""
    kind = parameter_type(parameter)
    if "enum" in parameter:
        return parameter["enum"]
    if kind == "array":
        values = parameter["items"].get("enum") or matching(parameter["items"])
        return [*values, ",".join(values)]
    return {
        "boolean": ["true", "false", "True"],
        "date": ["2030-12-01"],
        "integer": [parameter.get("minimum"), parameter.get("maximum")],
        "string": matching(parameter),
    }[kind]


def matching(schema):
    return [value for value in ("1", "none", "2030-12-01") if re.search(schema.get("pattern", ""), value)]


def parameter_type(parameter):
    return parameter["type"] if parameter["type"] == "integer" else parameter.get("format") or parameter["type"]


def invalid_samples(parameter):
    """Return invalid values of a query parameter."""
    kind = parameter_type(parameter)
    if kind == "string" and not {"enum", "pattern", "maxLength"} & set(parameter):
        return []
    if kind == "integer":
        return [parameter["minimum"] - 1, parameter["maximum"] + 1, "one"]
    if "maxLength" in parameter:
        return ["x" * (parameter["maxLength"] + 1)]
    return [value for value in ("!", "\0") if not re.search(parameter.get("pattern", "^$"), value)]
