"""Checks of the containers that need no engine. scripts/try-compose checks the rest."""

import ipaddress
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml

from tests.lab import compose_lines
from tests.local_stack import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DATABASE = yaml.safe_load((ROOT / "docker-compose.database.yml").read_text())
BLUEPRINT = yaml.safe_load((ROOT / "render.yaml").read_text())
IMAGES = ("user_service", "task_service", "gateway")
SERVERS = ("user_service", "task_service", "worker", "gateway", "database")
ONCE = ("secrets", "roles", "user_migrations", "task_migrations")
# Settings of scripts/run, those that the compose file fixes, and DATABASE_URL, which it takes from USER_DATABASE_URL
# and TASK_DATABASE_URL.
NOT_FOR_CONTAINERS = {
    *("TMSERVICE_STATE_DIR", "TMSERVICE_ENV_FILE", "RENDER_EXTERNAL_HOSTNAME", "DATABASE_URL", "OWNER_DATABASE_URL"),
    *("USER_SERVICE_URL", "TASK_SERVICE_URL", "TLS_CA_FILE", "GATEWAY_LISTEN", "PORT", "MIGRATE_ON_START"),
    *("RUN_WORKER", "MAIL_FOLDER", "HEARTBEAT_PATH"),
}


OLD_NAMES = {"THROTTLE_NEWCOMERS"}
PACKAGES = "/venv/lib/python3.13/site-packages"


def documented():
    return set(re.findall(r"^#([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))


def user_settings():
    asked = re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text())
    return set(asked) - {"COMPOSE_PROJECT_NAME"}  # compose's own


def dockerfile(name):
    return (ROOT / name / "Dockerfile").read_text()


def instructions(name, kind):
    joined = dockerfile(name).replace("\\\n", " ")
    return re.findall(rf"^{kind} (.+)$", joined, re.MULTILINE)


# docker-compose.yml


def test_every_user_setting_reaches_a_container():
    assert user_settings() == (documented() | OLD_NAMES) - NOT_FOR_CONTAINERS


def test_the_compose_file_holds_no_secret():
    for name, service in COMPOSE["services"].items():
        for variable, value in service.get("environment", {}).items():
            if re.search("KEY|PASSWORD|TOKEN|DATABASE_URL", variable) and not variable.endswith("_FILE"):
                assert re.fullmatch(r"(\$\{[A-Z_]+:-)+\}+", value), f"{name}: {variable}"


@pytest.mark.parametrize("name", [*SERVERS, *ONCE])
def test_a_container_runs_with_least_privilege(name):
    service = COMPOSE["services"][name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert (service["pids_limit"], service["cpus"]) == (256, "${CONTAINER_CPUS:-1}")
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
    assert "privileged" not in service
    assert "network_mode" not in service or service["network_mode"] == "none"


def test_a_one_off_container_is_not_restarted():
    assert {COMPOSE["services"][name]["restart"] for name in ONCE} == {"no"}


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_has_restarts_a_health_check_and_limits(name):
    service = COMPOSE["services"][name]

    assert service["restart"] == "unless-stopped"
    assert service["mem_limit"]
    assert service["tmpfs"]
    assert service["healthcheck"]


def test_only_the_gateway_has_a_port_on_loopback_by_default():
    """In compose's short form: the long form treats an invalid address as all addresses."""
    ports = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}

    assert ports == {"gateway": ["${GATEWAY_BIND:-127.0.0.1}:${GATEWAY_PORT:-8080}:8080"]}


def test_postgresql_is_left_out_if_both_databases_are_external():
    """A compose expression selects the extended service; scripts/try-compose cannot cover every case."""
    variants = yaml.safe_load((ROOT / "docker-compose.database.yml").read_text())["services"]

    for name in ("database", "roles"):
        chosen = f"${{USER_DATABASE_URL:+${{TASK_DATABASE_URL:+no_}}}}{name}"
        assert COMPOSE["services"][name]["extends"] == {"file": "docker-compose.database.yml", "service": chosen}
    assert (variants["database"], variants["no_database"]) == ({}, {"profiles": ["database"]})
    assert variants["no_roles"] == {"command": ["true"]}
    assert COMPOSE["services"]["roles"]["depends_on"]["database"]["required"] is False


def test_sample_data_is_loaded_only_on_request():
    demo = COMPOSE["services"]["demo"]

    assert demo["profiles"] == ["demo"]
    assert "./scripts:/app/scripts:ro" in demo["volumes"]


def test_in_development_services_reload_from_the_checkout():
    services = yaml.safe_load((ROOT / "docker-compose.dev.yml").read_text())["services"]

    assert set(services) <= set(COMPOSE["services"])
    for name in ("user", "task"):
        source = [f"./chassis:{PACKAGES}/chassis:ro", f"./{name}_service:/app/{name}_service:ro"]
        assert services[f"{name}_service"]["volumes"] == services[f"{name}_migrations"]["volumes"] == source
        assert services[f"{name}_service"]["environment"]["GUNICORN_CMD_ARGS"] == "--reload"
    assert (services["task_service"]["environment"]["RUN_WORKER"], services["worker"]) == ("inline", {"scale": 0})


@pytest.mark.parametrize("lines", compose_lines.documented().values(), ids=compose_lines.documented())
def test_documented_docker_commands_name_existing_services(lines):
    named = re.findall(r"docker compose (?:exec|run|restart)(?: -\S+)* (\w+)", lines)

    assert set(named) <= set(COMPOSE["services"])
    for path in re.findall(r"(?:scripts|chassis)/\S+", lines):
        assert (ROOT / path).exists()


def test_a_service_gets_only_its_own_secrets():
    mounted = {
        name: {volume.split(":")[0] for volume in service.get("volumes", []) if "secrets" in volume.split(":")[0]}
        for name, service in COMPOSE["services"].items()
    }

    assert mounted["user_service"] == {"user-secrets"}
    assert mounted["task_service"] == mounted["worker"] == {"task-secrets"}
    assert mounted["database"] == {"database-secrets"}
    assert mounted["gateway"] == set()
    for name in ("user", "task"):
        assert mounted[f"{name}_migrations"] == {f"{name}-secrets", f"{name}-owner-secrets"}


def test_servers_get_no_owner_url_and_no_admin_password():
    for name in SERVERS:
        given = COMPOSE["services"][name].get("environment", {})
        assert not [variable for variable in given if re.search("ADMIN_|OWNER_|MIGRATE", variable)], name
    for name in ("user", "task"):
        service = COMPOSE["services"][f"{name}_migrations"]
        waits_for = COMPOSE["services"][f"{name}_service"]["depends_on"]
        assert service["command"] == ["python", "manage.py", "prepare"]
        assert waits_for == {f"{name}_migrations": {"condition": "service_completed_successfully"}}
        # With an external database but no owner, one role does both, and the owner in the file is not used.
        owner, serving = f"{name.upper()}_OWNER_DATABASE_URL", f"{name.upper()}_DATABASE_URL"
        assert service["environment"]["OWNER_DATABASE_URL"] == f"${{{owner}:-${{{serving}:-}}}}"


def test_data_survives_the_containers():
    """The official image of PostgreSQL 18 stores data in a version folder in /var/lib/postgresql."""
    assert "data:/var/lib/postgresql" in COMPOSE["services"]["database"]["volumes"]
    named = {volume.split(":")[0] for service in COMPOSE["services"].values() for volume in service.get("volumes", [])}
    assert named - {"./scripts"} == set(COMPOSE["volumes"])


# Images


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_runs_unprivileged_and_holds_no_secret(name):
    assert instructions(name, "USER")[-1] in ("10001:10001", "nginx")
    assert not re.search("KEY|SECRET_|PASSWORD|TOKEN", " ".join(instructions(name, "ENV") + instructions(name, "ARG")))


@pytest.mark.parametrize("name", IMAGES)
def test_copied_files_exist_in_the_build_context(name):
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]

    copied = [path for line in instructions(name, "COPY") if "--from" not in line for path in shlex.split(line)[:-1]]

    assert copied
    for path in copied:
        assert (ROOT / path).exists(), path
        assert path.split("/")[0] in allowed


def test_the_dockerfiles_differ_in_size():
    """BuildKit identifies a file by name, size and time, and in a git archive all files have the same time."""
    assert len({len(dockerfile(name)) for name in IMAGES}) == len(IMAGES)


def test_each_image_is_built_once_and_never_pulled():
    """A pulled image of that name from a public registry would get all secrets."""
    ours = [service for service in COMPOSE["services"].values() if "postgres" not in service["image"]]
    built = [service for service in ours if "build" in service]

    assert {service["image"] for service in ours} == {
        f"localhost/${{COMPOSE_PROJECT_NAME}}-{name}" for name in ("user-service", "task-service", "gateway", "setup")
    }
    assert len({service["image"] for service in built}) == len(built) == 4
    assert {service["pull_policy"] for service in built} == {"build"}
    assert {service["pull_policy"] for service in ours if service not in built} == {"never"}


def test_the_setup_image_does_not_depend_on_service_code(tmp_path):
    """Compose also recreates dependents of a recreated container."""
    setup, _, service = dockerfile("user_service").partition(" AS setup")[2].partition("FROM setup")
    copied = [path for line in re.findall(r"^COPY (?!--)(.*) /venv/", setup, re.MULTILINE) for path in line.split()]
    for path in copied:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)

    assert "user_service" not in setup
    assert "user_service" in service
    for name in ("secrets", "roles"):
        assert COMPOSE["services"][name]["image"].endswith("-setup")
        module = {**COMPOSE["services"][name], **DATABASE["services"].get(name, {})}["command"][2]
        subprocess.run(
            [sys.executable, "-c", f"import {module} as m; assert m.__file__.startswith({str(tmp_path)!r})"],
            check=True,
            cwd=tmp_path,
        )


@pytest.mark.parametrize("name", SERVERS)
def test_a_health_check_is_cheap_and_rare_after_a_success(name):
    check = COMPOSE["services"][name]["healthcheck"]

    assert check["test"][1].startswith("[ ! -e /tmp/healthy ] || sleep 59; rm -f /tmp/healthy; ")
    assert check["test"][1].endswith(" && touch /tmp/healthy")
    assert "manage.py" not in check["test"][1]
    assert (check["interval"], check["timeout"]) == ("1s", "70s")
    assert any(line.startswith("/tmp") for line in COMPOSE["services"][name]["tmpfs"])


def test_the_build_context_holds_no_local_files():
    lines = (ROOT / ".dockerignore").read_text().splitlines()

    assert lines[1] == "*"
    assert not {"!.env", "!.git", "!var", "!.venv"} & set(lines)


@pytest.mark.parametrize("name", ["user_service", "task_service"])
def test_packages_are_pinned_with_hashes(name):
    assert "--require-hashes -r /requirements.txt" in dockerfile(name)
    assert f"requirements/{name}.txt" in dockerfile(name)


def test_the_gateway_image_sets_every_template_variable():
    asked = set(re.findall(r"\$\{([A-Z_]+)\}", (ROOT / "gateway/templates/tmservice.conf.template").read_text()))
    exported = set(re.findall("GATEWAY_[A-Z_]+", (ROOT / "gateway/settings.envsh").read_text().partition("export ")[2]))

    assert asked
    assert asked <= exported
    assert "GATEWAY_[A-Z_]*" in (ROOT / "gateway/start.sh").read_text()


# The secrets


def make_secrets(folder):
    for name in ("user", "user-owner", "task", "task-owner", "database"):
        (folder / name).mkdir(exist_ok=True)
    command = [sys.executable, "-m", "deploy.secret_files", folder]
    subprocess.run(command, check=True)
    return {file.relative_to(folder).as_posix(): file.read_text() for file in folder.glob("*/*")}


def test_secrets_are_generated_once_and_only_the_key_is_shared(tmp_path):
    made = make_secrets(tmp_path)

    assert make_secrets(tmp_path) == made
    assert made["user/JWT_SIGNING_KEY"] == made["task/JWT_SIGNING_KEY"]
    assert len(set(made.values())) == len(made) - 1
    for name, needed in (
        ("user_service", ("JWT_SIGNING_KEY", "DATABASE_URL", "USER_SECRET_KEY")),
        ("user_migrations", ("OWNER_DATABASE_URL", "ADMIN_PASSWORD")),
        ("task_migrations", ("OWNER_DATABASE_URL",)),
    ):
        assert {f"{each}_FILE" for each in needed} <= set(COMPOSE["services"][name]["environment"])
    for name in ("user_service", "user_migrations", "task_service", "task_migrations", "worker", "database"):
        files = {value for key, value in COMPOSE["services"][name]["environment"].items() if key.endswith("_FILE")}
        assert files <= {f"/secrets/{file}" for file in made}


def test_an_existing_admin_password_moves_out_of_the_service(tmp_path):
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "ADMIN_PASSWORD").write_text("seven green bicycles")

    made = make_secrets(tmp_path)

    assert made["user-owner/ADMIN_PASSWORD"] == "seven green bicycles"
    assert "user/ADMIN_PASSWORD" not in made


def test_a_missing_secret_is_generated_and_the_others_stay(tmp_path):
    made = make_secrets(tmp_path)
    (tmp_path / "task" / "TASK_SECRET_KEY").unlink()

    again = make_secrets(tmp_path)

    assert again.pop("task/TASK_SECRET_KEY") != made.pop("task/TASK_SECRET_KEY")
    assert again == made


# render.yaml


def settings_on_render(service):
    groups = {each["name"]: {row["key"]: row for row in each["envVars"]} for each in BLUEPRINT["envVarGroups"]}
    settings = {}
    for row in service["envVars"]:
        settings |= groups[row["fromGroup"]] if "fromGroup" in row else {row["key"]: row}
    return settings


ON_RENDER = {service["name"].removeprefix("tmservice-"): service for service in BLUEPRINT["services"]}


@pytest.mark.parametrize("service", BLUEPRINT["services"], ids=lambda service: service["name"])
def test_a_service_deploys_on_its_own(service):
    assert (service["type"], service["runtime"], service["dockerContext"]) == ("web", "docker", ".")
    assert (ROOT / service["dockerfilePath"]).is_file()
    for pattern in service["buildFilter"]["paths"]:
        assert (ROOT / pattern.removesuffix("/**")).exists(), pattern
    folder = service["dockerfilePath"].split("/")[1]
    filtered = {pattern.split("/")[0] for pattern in service["buildFilter"]["paths"]}
    copied = {path.split("/")[0] for line in instructions(folder, "COPY(?! --)") for path in shlex.split(line)[:-1]}
    assert filtered == copied
    assert set(settings_on_render(service)) <= documented()


@pytest.mark.parametrize(("name", "own"), [("user", "USER_SECRET_KEY"), ("task", "TASK_SECRET_KEY")])
def test_render_sets_what_a_service_needs_to_run_alone(name, own):
    settings = settings_on_render(ON_RENDER[name])

    assert settings[own]["generateValue"] is True
    assert {"fromGroup": "tmservice-services"} in ON_RENDER[name]["envVars"]
    assert settings["JWT_SIGNING_KEY"]["generateValue"] is True
    for url in ("DATABASE_URL", "OWNER_DATABASE_URL"):
        assert settings[url] == {"key": url, "sync": False}
    assert (settings["RUN_WORKER"]["value"], settings["MIGRATE_ON_START"]["value"]) == ("inline", "true")
    assert settings["MAIL_FOLDER"]["value"] == "off"  # the disk is ephemeral


def test_the_render_gateway_has_no_signing_key_or_database_url():
    settings = settings_on_render(ON_RENDER["gateway"])

    assert [name for name in settings if re.search("KEY|PASSWORD|TOKEN|DATABASE|EMAIL", name)] == []


def test_render_identifies_the_gateway_by_secret_not_address():
    for service in BLUEPRINT["services"]:
        settings = settings_on_render(service)
        assert settings["GATEWAY_SECRET"]["generateValue"] is True
        assert "GATEWAY_ADDRESSES" not in settings


@pytest.mark.parametrize("service", BLUEPRINT["services"], ids=lambda service: service["name"])
def test_render_does_not_restart_a_service_without_a_database(service):
    assert service["healthCheckPath"].endswith("/health/live/")


def test_render_trusts_networks_but_not_everyone():
    proxies = settings_on_render(ON_RENDER["gateway"])["TRUSTED_PROXIES"]["value"]

    networks = [ipaddress.ip_network(word.strip()) for word in proxies.split(",")]
    assert min(network.prefixlen for network in networks) >= 8
