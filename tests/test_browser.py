"""The API documentation in a headless Chromium. Screenshots are in .venv/screenshots."""

import base64
import json
import sys
import sysconfig

import pytest

from stack import bootstrap
from stack.console import StackError
from tests.lab import chromium

pytestmark = pytest.mark.slow

SCREENSHOTS = bootstrap.VENV / "screenshots"
ONLY_LOCALHOST = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost"
FLAGS = [
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", ONLY_LOCALHOST),
]
SCREENS = {
    "wide": {"viewport": {"width": 1280, "height": 900}},
    "narrow": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}
SERVICES = {"user": "TMService: accounts", "task": "TMService: tasks"}
A_READ = {
    "user": ("#operations-Own_account-readOwnAccount", "/user/me/"),
    "task": ("#operations-Tasks-summarizeTasks", "/task/tasks/summary/"),
}
CONVERTED = "warning: [ReDoc Compatibility mode]: Converting OpenAPI 2.0 to OpenAPI 3.0"
REFUSED = "error: Failed to load resource: the server responded with a status of 401 (Unauthorized)"
LEGIBLE = 90  # white on the blue of Swagger UI's GET is 98
# How far apart the lightest and the darkest point of each box of a picture are, from 0 to 255.
CONTRASTS = """async ([png, boxes]) => {
    const answer = await fetch("data:image/png;base64," + png);
    const picture = await createImageBitmap(await answer.blob());
    const canvas = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
    canvas.drawImage(picture, 0, 0);
    return boxes.map(({x, y, width, height}) => {
        const points = canvas.getImageData(x, y, width, height).data;
        let [least, most] = [255, 0];
        for (let at = 0; at < points.length; at += 4) {
            const light = (points[at] + points[at + 1] + points[at + 2]) / 3;
            [least, most] = [Math.min(least, light), Math.max(most, light)];
        }
        return most - least;
    });
}"""


@pytest.fixture(scope="module")
def playwright():
    """Playwright from its own environment."""
    environment = str(bootstrap.install("clients", venv=bootstrap.VENV / "clients").parents[1])
    packages = sysconfig.get_path("platlib", "venv", {"base": environment, "platbase": environment})
    sys.path.append(packages)
    from playwright import sync_api

    sync_api.expect.set_options(timeout=30_000)  # Redoc takes seconds on a busy machine
    yield sync_api
    sys.path.remove(packages)


@pytest.fixture(scope="module")
def browser(playwright):
    found = chromium.find()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found.program, env=found.environment, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(request, browser, playwright, stack):
    screen = getattr(request, "param", "wide")
    context = browser.new_context(**SCREENS[screen], base_url=stack.url)
    yield Visit(context, playwright.expect, screen)
    context.close()


on_each_screen = pytest.mark.parametrize("visit", SCREENS, indirect=True)


class Visit:
    """A page and its errors."""

    def __init__(self, context, expect, screen):
        self.page, self.painter = context.new_page(), context.new_page()
        self.expect, self.screen = expect, screen
        self.complaints, self.asked = [], []
        self.page.on("console", lambda message: self.complain(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complain("error", str(error)))
        self.page.on("requestfailed", lambda request: self.complain("error", f"{request.url} {request.failure}"))
        context.on("request", lambda request: self.asked.append(request.url))

    def complain(self, kind, text):
        if kind in ("error", "warning"):
            self.complaints.append(f"{kind}: {text}")

    def open(self, path):
        self.page.goto(path)

    def heading(self, text):
        return self.page.get_by_role("heading", name=text)

    def show(self, *shown, name):
        """Take a screenshot; check that the page fits the screen and that these elements are visible and legible."""
        width = self.page.viewport_size["width"]
        assert self.page.evaluate("[innerWidth, document.documentElement.scrollWidth]") == [width, width]
        for locator in shown:
            self.expect(locator).to_be_in_viewport(ratio=0.9)
        picture = self.page.screenshot(path=SCREENSHOTS / f"{name}-{self.screen}.png", animations="disabled")
        boxes = [locator.bounding_box() for locator in shown]
        contrasts = self.painter.evaluate(CONTRASTS, [base64.b64encode(picture).decode(), boxes])
        assert min(contrasts) > LEGIBLE, contrasts

    def authorize(self, token, name):
        dialog = self.page.locator(".dialog-ux")
        self.page.locator(".schemes").get_by_role("button", name="Authorize").click()
        dialog.get_by_role("textbox").fill(token)
        self.show(dialog.get_by_role("heading", name="Bearer"), name=f"{name}-authorize")
        dialog.get_by_role("button", name="Apply credentials").click()
        self.expect(dialog.get_by_role("heading", name="Authorized")).to_be_visible()
        dialog.get_by_role("button", name="Close", exact=True).last.click()

    def execute(self, operation, name, body=None):
        """Try out an operation; return its displayed response."""
        block = self.page.locator(operation)
        block.locator(".opblock-summary-control").click()
        block.get_by_role("button", name="Try it out").click()
        if body is not None:
            block.get_by_role("textbox").first.fill(json.dumps(body))
        with self.page.expect_response(lambda answer: "/static/" not in answer.url) as answered:
            block.get_by_role("button", name="Execute").click()
        live = block.locator(".live-responses-table .response")
        status, text = live.locator(".response-col_status"), live.locator(".highlight-code pre").first
        self.expect(status).to_contain_text(str(answered.value.status))
        assert json.loads(text.inner_text()) == answered.value.json()
        live.locator("h5").first.evaluate("heading => heading.scrollIntoView()")
        self.show(live.locator("h5").first, text.locator("span").first, name=name)
        return answered.value

    def end(self, *known):
        """Check that there are only known errors and no requests to other hosts."""
        origin = self.page.evaluate("location.origin")
        assert self.complaints == list(known)
        assert [url for url in self.asked if not url.removeprefix("blob:").startswith(f"{origin}/")] == []


@on_each_screen
def test_the_gateway_page_links_to_both_services(visit):
    visit.open("/docs/")
    visit.show(visit.heading("TMService"), visit.heading("Tasks"), name="docs")

    for link, place in enumerate(("/user/docs/", "/task/docs/")):
        visit.page.get_by_role("link", name="try it out").nth(link).click()
        visit.expect(visit.heading(SERVICES[place[1:5]])).to_be_visible()
        assert visit.page.url.endswith(place)
        visit.page.go_back()

    visit.end()


def test_the_gateway_page_works_with_the_keyboard(visit):
    visit.open("/docs/")
    links = visit.page.get_by_role("link")

    for number in range(links.count()):
        visit.page.keyboard.press("Tab")
        visit.expect(links.nth(number)).to_be_focused()
    for _ in ("YAML to JSON", "to read it", "to try it out"):
        visit.page.keyboard.press("Shift+Tab")
    visit.page.keyboard.press("Enter")

    visit.page.wait_for_url("**/task/docs/")
    visit.end()


@on_each_screen
@pytest.mark.parametrize("service", SERVICES)
def test_swagger_ui_shows_every_operation(visit, stack, service):
    document = stack.call("GET", f"/{service}/swagger.json").json()
    summaries = [operation["summary"] for item in document["paths"].values() for operation in methods(item)]

    visit.open(f"/{service}/docs/")
    authorize = visit.page.get_by_role("button", name="Authorize").first
    visit.show(visit.heading(SERVICES[service]), authorize, name=f"{service}-docs")
    shown = visit.page.locator(".opblock-summary-description")
    visit.expect(shown).to_have_count(len(summaries))
    shown.first.scroll_into_view_if_needed()
    visit.show(shown.first, visit.page.locator(".opblock-summary-method").first, name=f"{service}-docs-calls")

    assert sorted(shown.all_inner_texts()) == sorted(summaries)
    visit.end()


def methods(item):
    return [operation for method, operation in item.items() if method != "parameters"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_call_with_a_bare_token_succeeds(visit, stack, service):
    token = stack.admin_token()
    operation, path = A_READ[service]
    visit.open(f"/{service}/docs/")

    visit.authorize(token, f"{service}-docs")
    answer = visit.execute(operation, f"{service}-docs-200")

    assert (answer.status, answer.request.headers["authorization"]) == (200, f"Bearer {token}")
    assert answer.json() == stack.call("GET", path, token=token).json()
    visit.end()


@pytest.mark.parametrize("service", SERVICES)
def test_a_call_without_a_token_is_refused(visit, service):
    visit.open(f"/{service}/docs/")

    answer = visit.execute(A_READ[service][0], f"{service}-docs-401")

    assert (answer.status, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.json()["code"] == "not_authenticated"
    visit.end(REFUSED)


def test_a_task_is_created_in_swagger_ui(visit, stack):
    token = stack.admin_token()
    visit.open("/task/docs/")

    visit.authorize(token, "task-docs-create")
    answer = visit.execute("#operations-Tasks-createTask", "task-docs-201", {"title": "Made in the browser"})

    assert answer.status == 201
    made = stack.call("GET", f"/task/tasks/{answer.json()['id']}/", token=token)
    assert made.json() == answer.json()
    assert made.json()["title"] == "Made in the browser"
    visit.end()


@on_each_screen
@pytest.mark.parametrize("service", SERVICES)
def test_redoc_opens(visit, service):
    visit.open(f"/{service}/redoc/")

    visit.show(visit.heading(SERVICES[service]), name=f"{service}-redoc")
    visit.expect(visit.page.locator("img")).to_have_count(0)

    visit.end(CONVERTED)


def programs(folder, monkeypatch, **statuses):
    for name, status in statuses.items():
        (folder / name).write_text(f"#!/bin/sh\nexit {status}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_an_installed_chromium_is_used_if_it_starts(tmp_path, monkeypatch):
    programs(tmp_path, monkeypatch, **{"chromium": 1, "chromium-browser": 0, "google-chrome": 0})

    assert chromium.find().program == str(tmp_path / "chromium-browser")


def test_a_missing_chromium_is_reported(tmp_path, monkeypatch):
    programs(tmp_path, monkeypatch, chromium=1)
    monkeypatch.setattr("platform.machine", lambda: "aarch64")

    with pytest.raises(StackError, match="install the package chromium"):
        chromium.find()
