"""The judge of scripts/faults."""

import json
from dataclasses import replace

import pytest

from tests.lab import judge
from tests.lab.client import Answer, SentRequest
from tests.lab.deliveries import Deliveries
from tests.lab.judge import Demands, Evidence
from tests.lab.load import AcknowledgedPatch, FaultWindow, KeyedTask
from tests.lab.mails import ReceivedMail

ASSIGNED, CHANGED = "task_assigned", "task_status_changed"
SHOWN = "GET /task/tasks/ [x-1] got"


def request(begun_at=10.0, status=200, *, kind="read tasks", seconds=0.1, is_repeated=False, **response_fields):
    answer = Answer(status, {}, **response_fields)
    return SentRequest("x-1", kind, "GET", "/task/tasks/", begun_at, seconds, answer, is_repeated=is_repeated)


def unavailable(begun_at=10.5, status=503, **changed):
    """A request that may fail during a fault."""
    common = {"code": "service_unavailable", "retry_after": "2", "content_type": "application/problem+json"}
    return request(begun_at, status, **common | changed)


def history(version, field=None, to=None):
    return {"version": version, "field": field, "to": to}


def notified(number, kind, channel="log", **changed):
    facts = {"id": number, "message_id": number, "channel": channel, "kind": kind, "state": "sent"}
    return facts | {"recipient": {"username": "alice"}, "attempts": 2, "reason": None} | changed


def stored(task_id, title, **changed):
    first = {"status": "todo", "priority": "normal", "description": "", "version": 1}
    return {"id": task_id, "title": title} | first | changed


# The fault lasted from 10 to 11. Task 7 was started, then described; task 8 was created by the second request.
SERVED = [request(begun_at, kind=kind) for begun_at in (9.0, 11.5) for kind in judge.KINDS]
HISTORY = [
    history(1),
    history(1, "assigned_to", 2),
    history(2, "status", "in_progress"),
    history(3, "description", "Slowly"),
]
LEDGER = [notified(1, ASSIGNED), notified(2, CHANGED, state="planned")]
CLEAN_RUN = Evidence(
    sent=[*SERVED, unavailable(), unavailable(begun_at=11.2)],
    windows=[FaultWindow(10, 11)],
    keyed=[KeyedTask("key-1", "One", 2, task_id=7), KeyedTask("key-2", "Two", 2, task_id=8, requests=2)],
    patches=[AcknowledgedPatch(7, 2, {"status": "in_progress"}), AcknowledgedPatch(7, 3, {"description": "Slowly"})],
    contradictions=[],
    stored=[stored(7, "One", status="in_progress", description="Slowly", version=3), stored(8, "Two")],
    activity={7: HISTORY},
    ledger={7: LEDGER},
)


def violations(evidence=CLEAN_RUN, demands=None, **changed):
    return list(judge.violations(replace(evidence, **changed), demands or Demands()))


def test_a_clean_run_has_no_findings():
    assert violations() == []
    assert CLEAN_RUN.recovery_seconds_taken() == pytest.approx(0.2)


def test_an_unacknowledged_write_may_be_stored():
    assert violations(keyed=[KeyedTask("key-1", "One", 2), *CLEAN_RUN.keyed[1:]], patches=[]) == []


def test_an_unchanged_value_needs_no_history_line():
    assert violations(patches=[AcknowledgedPatch(7, 3, {"status": "in_progress", "priority": "normal"})]) == []


def test_a_repeated_request_may_be_409_while_the_first_runs():
    twin = unavailable(status=409, code="idempotency_key_in_use", is_repeated=True)

    assert violations(sent=[*SERVED, twin]) == []
    assert violations(sent=[*SERVED, replace(twin, is_repeated=False)]) != []


def test_a_kill_may_cut_off_the_requests_in_flight():
    cut_off = [*SERVED, *[request(10.5, status=0, code="RemoteDisconnected")] * 4]

    assert violations(sent=cut_off, demands=Demands(may_cut_off=True)) == []
    assert len(violations(sent=cut_off)) == 4


def patched(task_id, version, **values):
    return {"patches": [AcknowledgedPatch(task_id, version, values)]}


def also_sent(*sent):
    return {"sent": [*SERVED, *sent]}


def assert_found(violation, found):
    assert any(text.startswith(violation) for text in found), found


FAILED = notified(1, ASSIGNED, state="failed", reason="no room")
NEVER_CHANGED = [it for it in SERVED if it.kind != "change tasks" or it.begun_at < 11]
UNAVAILABLE = f"{SHOWN} 503 service_unavailable after 0.10 s"


@pytest.mark.parametrize(
    ("changed", "violation"),
    [
        ({"stored": CLEAN_RUN.stored[:1]}, "task 8 was acknowledged for key-2 but is not stored"),
        ({"stored": [CLEAN_RUN.stored[0], stored(8, "Three")]}, "task 8 was acknowledged for key-2 but is not stored"),
        (patched(7, 4, status="completed"), "status='completed' of task 7 was acknowledged as version 4 but is not"),
        (patched(7, 2, status="completed"), "status='completed' of task 7 was acknowledged as version 2 but is not"),
        (patched(9, 1, status="todo"), "status='todo' of task 9 was acknowledged as version 1 but is not in its"),
        ({"stored": [*CLEAN_RUN.stored, stored(9, "Two")]}, "key-2 created the tasks [8, 9]"),
        ({"contradictions": ["task 7 went back"]}, "task 7 went back"),
        ({"activity": {7: [*HISTORY[:2], HISTORY[3]]}}, "task 7 is at version 3, its history knows [1, 3]"),
        ({"stored": [stored(7, "One", version=3)]}, "status of task 7 is 'todo', by its history 'in_progress'"),
        ({"activity": {7: HISTORY, 9: HISTORY}}, "task 9 has a history but is not stored"),
        ({"ledger": {7: LEDGER[:1]}}, "1 changes of status of task 7 are 0 times in the ledger, by log"),
        ({"ledger": {7: [*LEDGER, LEDGER[1]]}}, "1 changes of status of task 7 are 2 times in the ledger"),
        ({"ledger": {7: LEDGER[1:]}}, "1 changes of assigned_to of task 7 are 0 times in the ledger"),
        ({"ledger": {7: [FAILED, LEDGER[1]]}}, "log 1 of task 7 is failed after 2 attempts: no room"),
        (also_sent(unavailable(status=500, code="server_error")), f"{SHOWN} 500 server_error after 0.10 s"),
        (also_sent(unavailable(status=401, code="token_invalid")), f"{SHOWN} 401 token_invalid after 0.10 s"),
        (also_sent(unavailable(retry_after="")), f"{UNAVAILABLE}, without Retry-After"),
        (also_sent(unavailable(content_type="text/html")), f"{UNAVAILABLE}, as text/html"),
        (also_sent(request(10.5, status=0, code="TimeoutError")), f"{SHOWN} nothing (TimeoutError) after 0.10 s"),
        (also_sent(request(9.5, seconds=10.5)), f"{SHOWN} 200 after 10.50 s, later than 10 s"),
        (also_sent(unavailable(begun_at=9.0)), f"{UNAVAILABLE}, without a fault"),
        (also_sent(unavailable(begun_at=16.5)), f"{UNAVAILABLE}, 5.5 s after the end of the fault"),
        ({"sent": NEVER_CHANGED}, "nobody could change tasks after the end of the fault"),
    ],
)
def test_the_judge_reports_violations(changed, violation):
    assert_found(violation, violations(**changed))


@pytest.mark.parametrize(
    ("demands", "sent", "violation"),
    [
        (Demands(max_failed=0), [unavailable()], "1 requests failed, but only 0 may; first: "),
        (Demands(max_failed=1), [unavailable(status=502)] * 2, "2 requests failed, but only 1 may; first: "),
        (Demands(may_cut_off=True), [request(status=0)] * 5, "5 requests were not answered, only 4 were in flight"),
        (Demands(recovery_seconds=0.1), [unavailable(11.2)], f"{SHOWN} 503 service_unavailable after 0.10 s, 0.2 s"),
        (Demands(max_seconds=0.05), [], f"{SHOWN} 200 after 0.10 s, later than 0.05 s"),
    ],
)
def test_the_judge_applies_the_demands_of_a_fault(demands, sent, violation):
    assert_found(violation, violations(sent=[*SERVED, *sent], demands=demands))


# Notifications by log and mail. Task 7 was assigned to Alice, begun and completed.


def by_email(number, kind=CHANGED, **changed):
    return notified(number, kind, "email", **changed)


def line(number, **changed):
    return json.dumps({"id": number, "event": CHANGED, "task": 7} | changed)


def mail(number, **changed):
    facts = {"message_id": f"<notification-{number}.0123456789abcdef@tmservice.invalid>", "to": "alice@example.com"}
    return ReceivedMail(**facts | {"event": CHANGED} | changed)


ALICE = "'alice@example.com'"
EMAILED = [by_email(2, ASSIGNED), by_email(4), by_email(6)]
LOGGED = [notified(1, ASSIGNED), notified(3, CHANGED), notified(5, CHANGED)]
MAILS = [mail(2, event=ASSIGNED), mail(4), mail(6)]
LOG = [line(1, event=ASSIGNED, to=2), line(3, to="in_progress"), line(5, to="completed")]
DELIVERED = replace(
    CLEAN_RUN,
    patches=[AcknowledgedPatch(7, 2, {"status": "in_progress"}), AcknowledgedPatch(7, 3, {"status": "completed"})],
    stored=[stored(7, "One", status="completed", version=3), stored(8, "Two")],
    activity={7: [*HISTORY[:3], history(3, "status", "completed")]},
    ledger={7: [*EMAILED, *LOGGED]},
    deliveries=Deliveries(MAILS, LOG, worker_kills=1),
)


def delivered(mails=MAILS, log=LOG, ledger=None):
    deliveries = Deliveries(mails, log, worker_kills=1)
    return violations(DELIVERED, deliveries=deliveries, ledger={7: ledger or DELIVERED.ledger[7]})


def last_mail(**changed):
    return {"ledger": [*EMAILED[:2], by_email(6, **changed), *LOGGED]}


def test_complete_deliveries_have_no_findings():
    assert delivered() == []


def test_one_copy_per_worker_kill_and_channel_is_allowed():
    mails, log = [*MAILS, MAILS[1]], [*LOG, LOG[2]]

    assert delivered(mails=mails, log=log) == []
    assert Deliveries(mails, log, worker_kills=1).figures() == "4 mails, 4 log lines, 2 of them copies"


def test_a_mail_may_hold_several_events():
    ledger = [EMAILED[0], EMAILED[1], by_email(6, message_id=2), *LOGGED]

    assert delivered(ledger=ledger, mails=[mail(2, event=f"{ASSIGNED}, {CHANGED}"), mail(4)]) == []


@pytest.mark.parametrize(
    ("changed", "violation"),
    [
        ({"ledger": [*EMAILED, *LOGGED[:2]]}, "2 changes of status of task 7 are 1 times in the ledger, by log"),
        ({"ledger": [*EMAILED[:2], *LOGGED]}, "2 changes of status of task 7 are 1 times in the ledger, by email"),
        ({"ledger": [*EMAILED, by_email(8), *LOGGED]}, "2 changes of status of task 7 are 3 times in the ledger"),
        (last_mail(state="planned"), "email 6 of task 7 is planned after 2 attempts: None"),
        (last_mail(state="skipped", reason="moved"), "email 6 of task 7 is skipped after 2 attempts: moved"),
        ({"mails": MAILS[:2]}, f"email (6, {ALICE}, '{CHANGED}') is marked as sent but did not arrive"),
        ({"mails": [*MAILS[:2], mail(6, to="bob")]}, f"email (6, 'bob', '{CHANGED}') arrived but is not marked"),
        ({"mails": [*MAILS[:2], mail(6, event=ASSIGNED)]}, f"email (6, {ALICE}, '{ASSIGNED}') arrived but is not"),
        ({"mails": [*MAILS, mail(6, message_id="<1@x>")]}, f"email ('<1@x>', {ALICE}, '{CHANGED}') arrived but"),
        ({"mails": [*MAILS, *MAILS[:2]]}, "2 copies by email, but the worker was killed 1 times"),
        ({"log": [*LOG, *LOG[1:]]}, "2 copies by log, but the worker was killed 1 times"),
        ({"log": LOG[1:]}, f"log (1, 7, '{ASSIGNED}') is marked as sent but did not arrive"),
        (
            {"log": [*LOG, line(9, task=8, to="todo")]},
            f"log (9, 8, '{CHANGED}') arrived but is not marked as sent",
        ),
        ({"log": [*LOG, LOG[2][:30]]}, "the log has broken lines, or copies that differ"),
        ({"log": [*LOG, line(5, to="todo")]}, "the log has broken lines, or copies that differ"),
        ({"log": [LOG[0], LOG[2], LOG[1]]}, "the log has other changes of task 7 than its activity, or in another"),
        ({"log": [*LOG[:2], line(5, to="in_progress")]}, "the log has other changes of task 7 than its activity, or"),
    ],
)
def test_the_judge_reports_delivery_violations(changed, violation):
    assert_found(violation, delivered(**changed))
