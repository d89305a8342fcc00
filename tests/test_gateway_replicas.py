"""Several replicas of a service behind one name, and services behind TLS."""

import signal
import ssl
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from tests.local_stack import ROOT, eventually
from tests.raw_http import FakeService, Gateway, NameServer, hang_up, hold


@pytest.fixture
def users():
    with FakeService() as service:
        yield service


@pytest.fixture
def names():
    server = NameServer()
    yield server
    server.close()


@pytest.fixture
def replicas():
    with FakeService() as first, FakeService(address="127.0.0.2", port=first.port) as second:
        yield first, second


@pytest.fixture
def replicated(users, names, replicas):
    """A gateway that resolves the task service to two addresses."""
    names.names["task"] = ["127.0.0.1", "127.0.0.2"]
    with Gateway(
        user_service=users.address,
        task_service=f"http://task.test:{replicas[0].port}",
        settings={"RESOLVER": names.address},
        changed={"valid=2s": "valid=1s"},
    ) as running:
        eventually(lambda: running.call("GET", "/task/tasks/").status == 200)
        for replica in replicas:
            replica.requests.clear()
        yield running


def test_requests_are_balanced_over_replicas(replicated, replicas):
    statuses = {replicated.call("GET", "/task/tasks/").status for _ in range(20)}

    assert statuses == {200}
    assert min(len(replica.requests) for replica in replicas) >= 8


def test_a_busy_replica_gets_fewer_requests(replicated, replicas):
    until = Event()
    replicas[0].behavior = hold(until)
    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(replicated.call, "GET", "/task/tasks/") for _ in range(2)]
        # The other one must have ended, or both replicas would be as busy.
        eventually(lambda: len(replicas[0].requests) == 1 and any(it.done() for it in answers))
        statuses = {replicated.call("GET", "/task/tasks/").status for _ in range(10)}
        until.set()

    assert statuses == {it.result().status for it in answers} == {200}
    assert (len(replicas[0].requests), len(replicas[1].requests)) == (1, 11)


def test_a_failed_request_is_retried_at_the_other_replica(replicated, replicas):
    replicas[0].behavior = hang_up

    statuses = Counter(
        replicated.call("POST", "/task/tasks/", b"{}", Idempotency_Key=f"key-{number}").status for number in range(10)
    )

    assert statuses == {200: 10}
    assert [request["Idempotency-Key"] for request in replicas[1].requests] == [f"key-{number}" for number in range(10)]
    assert 0 < len(replicas[0].requests) < 10


def test_a_request_is_tried_at_most_three_times(replicated, replicas):
    for replica in replicas:
        replica.behavior = hang_up

    refused = replicated.call("POST", "/task/tasks/", b"{}", Idempotency_Key="k")

    assert refused.status == 502
    assert sorted(len(replica.requests) for replica in replicas) == [1, 2]


def test_replicas_that_do_not_listen_yet_cause_no_errors(users, names):
    """They have the fewest connections, so each request tries them first."""
    ready = FakeService()
    starting = [FakeService(address=f"127.0.0.{number}", port=ready.port) for number in (2, 3)]
    for replica in starting:
        replica.close()
    names.names["task"] = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    task_service = f"http://task.test:{ready.port}"
    with Gateway(
        user_service=users.address, task_service=task_service, settings={"RESOLVER": names.address}
    ) as running:
        eventually(lambda: running.call("GET", "/task/tasks/").status == 200)
        statuses = Counter(running.call("POST", "/task/tasks/bulk/", b"{}").status for _ in range(20))
    ready.close()

    assert statuses == {200: 20}


def test_non_idempotent_requests_skip_a_dead_replica(replicated, replicas):
    replicas[0].close()

    statuses = Counter(replicated.call("POST", "/task/tasks/bulk/", b"{}").status for _ in range(10))

    assert statuses == {200: 10}


def test_changed_replica_addresses_are_found(replicated, replicas, names):
    names.names["task"] = ["127.0.0.2"]
    eventually(lambda: only_the_second_is_called(replicated, replicas))

    names.names["task"] = ["127.0.0.1"]

    eventually(lambda: only_the_second_is_called(replicated, replicas[::-1]))


def only_the_second_is_called(gateway, replicas):
    for replica in replicas:
        replica.requests.clear()
    statuses = {gateway.call("GET", "/task/tasks/").status for _ in range(6)}
    return statuses == {200} and (len(replicas[0].requests), len(replicas[1].requests)) == (0, 6)


def test_a_reload_changes_the_address_without_a_failure(users):
    old, new = FakeService(), FakeService()
    with Gateway(user_service=users.address, task_service=old.address) as running, ThreadPoolExecutor() as pool:
        over = Event()
        codes = pool.submit(keep_calling, running, over)
        eventually(lambda: len(old.requests) > 5)

        running.write(task_service=new.address)
        running.process.send_signal(signal.SIGHUP)

        eventually(lambda: len(new.requests) > 5)
        over.set()

    assert codes.result() == {200}
    for service in (old, new):
        service.close()


def keep_calling(gateway, until):
    codes = set()
    while not until.is_set():
        codes.add(gateway.call("POST", "/task/tasks/bulk/", b"{}").status)
    return codes


@pytest.fixture
def tls_service(names):
    """A service behind TLS, and the SNI names of its requests."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ROOT / "tests" / "data" / "task.test.pem")
    asked_for = []
    context.sni_callback = lambda _stream, name, _context: asked_for.append(name)
    service = FakeService(tls=context)
    names.names |= {"task": ["127.0.0.1"], "stranger": ["127.0.0.1"]}
    yield service, asked_for
    service.close()


def behind_tls(users, names, service, *, host="task.test", authority=ROOT / "tests" / "data" / "ca.pem"):
    return Gateway(
        user_service=users.address,
        task_service=f"https://{host}:{service.port}",
        settings={"RESOLVER": names.address, "TLS_CA_FILE": str(authority)},
    )


def test_a_tls_service_is_called_by_its_own_name(users, names, tls_service):
    service, asked_for = tls_service
    with behind_tls(users, names, service) as running:
        eventually(lambda: running.call("GET", "/task/tasks/").status == 200)
        keyed = running.call("POST", "/task/tasks/", b"{}", Idempotency_Key="k")
        running.call("GET", "/user/me/")

    assert keyed.status == 200
    assert set(asked_for) == {"task.test"}
    assert {request["Host"] for request in service.requests} == {"task.test"}
    assert [request["Host"] for request in users.requests] == ["localhost"]


def test_a_service_with_an_invalid_certificate_gets_no_request(users, names, tls_service):
    service, asked_for = tls_service
    for wrong in ({"host": "stranger.test"}, {"authority": "/etc/ssl/certs/ca-certificates.crt"}):
        asked_for.clear()
        with behind_tls(users, names, service, **wrong) as running:
            eventually(lambda: running.call("GET", "/task/tasks/").status == 502)
        assert asked_for

    assert service.requests == []
