"""Every instant is in UTC with a Z, for any TIME_ZONE."""

import re

import pytest
from django.core import signing

from chassis.api.pagination import SALT
from tests.conftest import TASKS, results, task_url
from tests.deliveries import deliver_all
from tests.test_statements import PUBLIC_ROUTES, READS

pytestmark = pytest.mark.django_db

ANY_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d[^\"',;\s]*")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?Z")


@pytest.fixture(params=["America/Anchorage", "Pacific/Kiritimati"])
def time_zone(request, settings):
    settings.TIME_ZONE = request.param


@pytest.fixture
def log(settings, tmp_path):
    settings.NOTIFICATION_CHANNELS = ["log"]
    settings.NOTIFICATION_LOG = str(tmp_path / "notifications.log")
    return tmp_path / "notifications.log"


def response_text(answer):
    assert answer.status_code < 400, answer.content
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return f"{dict(answer.headers)} {content.decode()}"


def assert_utc(text):
    found = ANY_INSTANT.findall(text)
    assert [each for each in found if not INSTANT.fullmatch(each)] == []
    return len(found)


@pytest.mark.usefixtures("time_zone")
def test_responses_and_log_lines_are_in_utc(ada, alice, grace, log, create_task):
    create_task()
    made = ada.post(TASKS, {"title": "Water", "assigned_to": alice.id})
    path = f"{TASKS}{made.json()['id']}/"
    writes = [
        made,
        grace.patch(path, {"status": "completed"}),
        grace.put(path, {"title": "Water", "status": "completed", "assigned_to": alice.id}),
        grace.post(f"{TASKS}bulk/", {"ids": [made.json()["id"]], "set": {"priority": "high"}}),
    ]
    notification = results(ada.get("/task/notifications/"))[0]
    writes.append(ada.post(f"/task/notifications/{notification['id']}/read/"))
    deliver_all("log")

    routes = [route.replace("<id:task_id>", str(made.json()["id"])) for route in READS.keys() - set(PUBLIC_ROUTES)]
    reads = [ada.get(f"/{route}") for route in routes]
    found = [assert_utc(response_text(answer)) for answer in (*writes, *reads)]

    assert sum(found) > 20
    assert assert_utc(log.read_text()) == len(log.read_text().splitlines()) > 0


@pytest.mark.usefixtures("time_zone")
@pytest.mark.parametrize("ordering", ["created_at", "updated_at"])
def test_cursors_work_in_any_time_zone(ada, create_task, settings, ordering):
    tasks = [create_task() for _ in range(3)]

    following = ada.get(f"{TASKS}?ordering={ordering}&page_size=1").json()["next"]
    value = signing.Signer(salt=SALT).unsign_object(following.rpartition("cursor=")[2].replace("%3A", ":"))[2]
    settings.TIME_ZONE = "Asia/Tokyo"

    assert INSTANT.fullmatch(value)
    assert [task["id"] for task in results(ada.get(following))] == [tasks[1].pk]


@pytest.mark.usefixtures("time_zone")
def test_a_task_can_be_sent_back(ada, create_task):
    path = task_url(create_task(status="completed"))

    assert ada.put(path, ada.get(path).json()).status_code == 200
