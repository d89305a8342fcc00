"""The API documentation from outside: the gateway's page and those of the services."""

import re
from base64 import b64encode
from hashlib import sha256

import pytest

PAGES = ["/user/docs/", "/user/redoc/", "/task/docs/", "/task/redoc/"]
DOCUMENTS = ["/user/swagger.json", "/user/swagger.yaml", "/task/swagger.json", "/task/swagger.yaml"]


def linked(html):
    return re.findall(r"""(?:href|src)=["']([^"']+)["']""", html)


@pytest.mark.parametrize("path", ["/docs/", "/docs"])
def test_the_gateway_page_links_to_both_services(stack, path):
    page = stack.call("GET", path)

    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert sorted(linked(page.text)) == sorted(PAGES + DOCUMENTS)
    assert [stack.call("GET", link).status_code for link in linked(page.text)] == [200] * 8


@pytest.mark.parametrize("path", ["/docs/", "/docs"])
def test_the_gateway_page_may_load_only_its_own_style(stack, path):
    page = stack.call("GET", path)
    policy = page.headers["Content-Security-Policy"]
    (style,) = re.findall("<style>(.*?)</style>", page.text)

    assert re.findall("style-src '([^;]+)'", policy) == [
        f"sha256-{b64encode(sha256(style.encode()).digest()).decode()}"
    ]
    assert policy.startswith("default-src 'none'; ")
    assert "script-src" not in policy
    assert "<script" not in page.text


CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"
FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
LYNX = "text/html, text/plain, text/sgml, text/css, application/xhtml+xml, */*;q=0.01"
PROGRAMS = [
    "*/*",
    None,
    "application/json",
    "application/json, text/plain, */*",
    "text/html;q=0",
    "text/html; q=0.0, */*",
]


@pytest.mark.parametrize("accept", [CHROMIUM, FIREFOX, LYNX, "text/html", "TEXT/HTML;q=0.9, */*;q=0.1"])
def test_a_browser_is_redirected_from_the_root_to_the_docs(stack, accept):
    answer = stack.call("GET", "/", headers={"Accept": accept})

    assert (answer.status_code, answer.headers["Location"], answer.headers["Vary"]) == (302, "/docs/", "Accept")
    assert stack.call("GET", "/?from=mail", headers={"Accept": accept}).status_code == 302
    assert "TMService" in stack.call("GET", answer.headers["Location"], headers={"Accept": accept}).text


@pytest.mark.parametrize("accept", PROGRAMS)
def test_a_program_gets_404_at_the_root(stack, accept):
    answer = stack.call("GET", "/", headers={"Accept": accept})

    assert (answer.status_code, answer.json()["code"], answer.headers["Vary"]) == (404, "not_found", "Accept")


def test_only_reads_of_the_root_are_redirected_to_the_docs(stack):
    answers = {method: stack.call(method, "/", headers={"Accept": CHROMIUM}) for method in ("HEAD", "POST", "DELETE")}

    assert {method: answer.status_code for method, answer in answers.items()} == {
        "HEAD": 302,
        "POST": 404,
        "DELETE": 404,
    }
    assert "Vary" not in stack.call("GET", "/x", headers={"Accept": CHROMIUM}).headers


def test_paths_below_the_gateway_page_are_404(stack):
    answer = stack.call("GET", "/docs/x")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize("path", PAGES)
def test_a_page_loads_all_its_files_through_the_gateway(stack, path):
    page = stack.call("GET", path)
    files = [file for file in linked(page.text) if not file.endswith("oauth2-redirect.html")]

    assert page.headers["Content-Security-Policy"].startswith("default-src 'self'; img-src 'self' data:; ")
    assert all(file.startswith(f"{path[:5]}/static/") for file in files)
    assert [stack.call("GET", file).status_code for file in files] == [200] * len(files)


@pytest.mark.parametrize("service", ["user", "task"])
def test_calls_go_to_the_origin_of_the_page(stack, service):
    document = stack.call("GET", f"/{service}/swagger.json").json()

    assert not {"host", "schemes"} & document.keys()
    for path, item in document["paths"].items():
        if "get" in item and "{" not in path and item["get"]["security"]:
            assert stack.call("GET", document["basePath"].rstrip("/") + path).status_code == 401
