"""scripts/deploy with a fake engine. scripts/try-compose deploys with a real one under load."""

import json
from itertools import count

import pytest

from stack import compose, deploy
from stack.console import StackError

ONCE = ("secrets", "roles", "user_migrations", "task_migrations")
IMAGES = {
    **dict.fromkeys(ONCE, "setup"),
    "user_migrations": "user",
    "user_service": "user",
    "task_migrations": "task",
    "task_service": "task",
    "worker": "task",
    "gateway": "gateway",
    "database": "postgres",
}
NEEDS = {"worker": {"task_service"}, "gateway": {"user_service", "task_service"}}


class Engine:
    """A fake of Docker and compose. Started containers become healthy, or exit, at once."""

    def __init__(self):
        self.versions = dict.fromkeys(set(IMAGES.values()), 1)
        self.failing, self.routes = set(), []
        self.numbers, self.containers, self.log = count(1), {}, []
        for service in IMAGES:
            self.create(service)
            self.start(next(reversed(self.containers)))
        self.log = []

    def create(self, service):
        number = str(next(self.numbers))
        image = f"{IMAGES[service]}:{self.versions[IMAGES[service]]}"
        self.containers[number] = {"service": service, "image": image, "state": {"Status": "created"}}
        self.log.append(f"create {service}")

    def start(self, number):
        found = self.containers[number]
        fails = found["service"] in self.failing
        if found["service"] in ONCE:
            found["state"] = {"Status": "exited", "ExitCode": int(fails)}
        else:
            found["state"] = {"Status": "running", "Health": {"Status": "unhealthy" if fails else "healthy"}}
        self.log.append(f"start {found['service']}")

    def images_for(self, service):
        return [each["image"] for each in self.containers.values() if each["service"] == service]

    def run(self, program, *arguments, **_):
        command, *rest = arguments[1:] if arguments[0] == "compose" else arguments
        names = [word for word in rest if not word.startswith("-")]
        return getattr(self, f"on_{command}")(*names) or ""

    def on_build(self): ...

    def on_config(self, kind):
        if kind == "*":
            return "\n".join(f"{service} hash" for service in IMAGES)
        services = {
            service: {"image": image, "depends_on": {name: {} for name in NEEDS.get(service, ())}}
            for service, image in IMAGES.items()
        }
        return json.dumps({"services": services})

    def on_images(self, name):
        return f"{name}:{self.versions[name]}\n"

    def on_ps(self, *services):
        return "\n".join(
            number for number, each in self.containers.items() if not services or each["service"] in services
        )

    def on_create(self, *scales_and_service):
        *scales, service = scales_and_service
        numbers = dict(scale.split("=") for scale in scales)
        for each in {service} | NEEDS.get(service, set()):  # compose would remove the excess
            assert int(numbers.get(each, 1)) == len(self.images_for(each)) + (each == service)
        self.create(service)

    def on_inspect(self, *numbers):
        labels = "com.docker.compose."
        return json.dumps(
            [
                {
                    "Id": number,
                    "Created": number.rjust(3, "0"),
                    "Image": self.containers[number]["image"],
                    "State": self.containers[number]["state"],
                    "RestartCount": 0,
                    "NetworkSettings": {"Networks": {"default": {"IPAddress": f"10.0.0.{number}"}}},
                    "Config": {
                        "Labels": {
                            f"{labels}service": self.containers[number]["service"],
                            f"{labels}config-hash": "hash",
                        }
                    },
                }
                for number in numbers
            ]
        )

    def on_start(self, *numbers):
        for number in numbers:
            self.start(number)

    def on_stop(self, *numbers):
        for number in numbers:
            self.containers[number]["state"] = {"Status": "exited", "ExitCode": 0}
            self.log.append(f"stop {self.containers[number]['service']}")

    def on_exec(self, service, _shell, _script, host, *addresses):
        assert service == "gateway"
        self.routes.append((host, *addresses))

    def on_rm(self, *numbers):
        for number in numbers:
            self.containers.pop(number)

    def on_wait(self, number):
        return f"{self.containers[number]['state']['ExitCode']}\n"


@pytest.fixture
def engine(monkeypatch, tmp_path):
    engine = Engine()
    engine.project = compose.Project(folder=tmp_path)
    for module in (compose, deploy):
        monkeypatch.setattr(module, "run", engine.run)
    monkeypatch.setattr(deploy, "logs", lambda number, tail: "")
    for name in ("GATEWAY_SECONDS", "RELOAD_SECONDS"):
        monkeypatch.setattr(deploy, name, 0)
    return engine


def test_unchanged_containers_stay(engine):
    deploy.deploy(engine.project)

    assert engine.log == []


def test_a_new_container_is_healthy_before_an_old_one_ends(engine):
    engine.versions["user"] = 2

    deploy.deploy(engine.project)

    assert engine.log == [
        *("create user_migrations", "start user_migrations"),
        *("create user_service", "start user_service", "stop user_service"),
    ]
    assert engine.images_for("user_service") == engine.images_for("user_migrations") == ["user:2"]
    (number,) = (number for number, each in engine.containers.items() if each["service"] == "user_service")
    assert engine.routes == [("user-service", f"10.0.0.{number}"), ("user-service",)]


def test_replicas_are_replaced_one_by_one(engine):
    deploy.deploy(engine.project, scale={"task_service": 3})
    engine.versions["task"] = 2
    engine.log.clear()

    deploy.deploy(engine.project)

    one = ["create task_service", "start task_service", "stop task_service"]
    assert engine.log[2:-3] == one * 3
    assert engine.images_for("task_service") == ["task:2"] * 3
    assert engine.images_for("worker") == ["task:2"]


def test_scaling_does_not_touch_the_other_containers(engine):
    deploy.deploy(engine.project, scale={"task_service": 3})
    assert engine.log == ["create task_service", "start task_service"] * 2

    engine.log.clear()
    deploy.deploy(engine.project, scale={"task_service": 1})
    assert engine.log == ["stop task_service"] * 2


def test_all_replaces_services_but_not_the_gateway_or_database(engine):
    deploy.deploy(engine.project, replace_all=True)

    assert {line.split()[1] for line in engine.log} == {"user_service", "task_service", "worker"}


@pytest.mark.parametrize("service", ["user_service", "gateway"])
def test_an_unhealthy_new_container_is_removed_and_the_old_stays(engine, service):
    engine.versions[IMAGES[service]] = 2
    engine.failing = {service}

    with pytest.raises(StackError, match=f"A new container of {service} did not become healthy"):
        deploy.deploy(engine.project)

    assert engine.images_for(service) == [f"{IMAGES[service]}:1"]
    assert engine.log[-1] == ("start gateway" if service == "gateway" else "start user_service")


def test_a_failed_migration_replaces_nothing(engine):
    engine.versions["task"] = 2
    engine.failing = {"task_migrations"}

    with pytest.raises(StackError, match="task_migrations exited with 1; nothing was replaced"):
        deploy.deploy(engine.project)

    assert engine.images_for("task_service") == ["task:1"]
    assert engine.images_for("task_migrations") == ["task:1"]


def test_a_changed_database_is_reported_but_not_replaced(engine, capsys):
    engine.versions["postgres"] = 2

    deploy.deploy(engine.project)

    assert engine.log == []
    assert "The database has changed too but was not replaced" in capsys.readouterr().out


def test_without_a_running_stack_it_says_how_to_start(engine):
    engine.containers.clear()

    with pytest.raises(StackError, match="docker compose up --wait"):
        deploy.deploy(engine.project)


@pytest.mark.parametrize("text", ["task_service", "task_service=0", "gateway=2", "database=2", "worker=x"])
def test_only_replicable_services_are_scaled(text, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["deploy", "--scale", text])

    with pytest.raises(SystemExit):
        deploy.main()

    assert "use one of user_service, task_service, worker" in capsys.readouterr().err
