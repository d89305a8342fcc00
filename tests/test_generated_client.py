"""Clients from a stock generator, used against a running stack."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from stack import bootstrap, node
from tests.local_stack import ROOT, environment, output_of

pytestmark = pytest.mark.slow

SERVICES = ("user", "task")
PROGRAM = ROOT / "tests" / "use_generated_client.py"
STORIES = re.findall(r"^def (it_\w+)", PROGRAM.read_text(), re.MULTILINE)
METHODS = ("get", "post", "put", "patch", "delete")
PROBLEM = "application/problem+json"
# It reads whatever is text/* as text, and then makes a file of bytes of it.
CONFIGURATION = {"content_type_overrides": {"text/csv": "application/octet-stream"}}


@dataclass
class Clients:
    folder: Path
    python: Path
    documents: dict
    said: dict


@pytest.fixture(scope="module")
def clients(stack, tmp_path_factory):
    """Generate a package from each document: user_client and task_client."""
    folder = tmp_path_factory.mktemp("clients")
    python = bootstrap.install("clients", venv=bootstrap.VENV / "clients")
    made = Clients(folder, python, {}, {})
    (folder / "configuration.json").write_text(json.dumps(CONFIGURATION))
    for service in SERVICES:
        made.documents[service] = stack.call("GET", f"/{service}/swagger.json").json()
        (folder / f"{service}.json").write_text(json.dumps(narrowed(converted(made.documents[service], folder))))
        made.said[service] = generate(made, service)
    return made


def converted(document, folder):
    """Convert a Swagger 2.0 document to OpenAPI 3."""
    source, target = folder / "swagger.json", folder / "openapi.json"
    source.write_text(json.dumps(document))
    program = node.install(ROOT / "tests" / "converter") / "node_modules" / "swagger2openapi" / "swagger2openapi.js"
    run(["node", program, f"--outfile={target}", source], node.node_environment())
    return json.loads(target.read_text())


def narrowed(document):
    """Give each response its own media type: Swagger 2.0 has one list per operation."""
    for item in document["paths"].values():
        for response in (answer for method in METHODS for answer in item.get(method, {}).get("responses", {}).values()):
            kinds = response.get("content", {})
            for kind in [kind for kind in kinds if (kind == PROBLEM) != is_problem(kinds[kind])]:
                del kinds[kind]
    return document


def is_problem(content):
    return content["schema"].get("$ref", "").endswith("Problem")


def generate(clients, service):
    options = ["--meta=none", "--fail-on-warning", f"--config={clients.folder / 'configuration.json'}"]
    source, target = clients.folder / f"{service}.json", clients.folder / f"{service}_client"
    with_ruff = environment(PATH=f"{clients.python.parent}{os.pathsep}{os.environ['PATH']}")
    generator = ["-m", "openapi_python_client", "generate", f"--path={source}", f"--output-path={target}", *options]
    return run([clients.python, *generator], with_ruff).stdout


def run(argv, settings, **more):
    done = output_of(argv, env=settings, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.parametrize("service", SERVICES)
def test_the_generator_omits_nothing_and_gives_no_warning(clients, service):
    items = clients.documents[service]["paths"].values()
    operations = [item[method]["operationId"] for item in items for method in METHODS if method in item]
    modules = (clients.folder / f"{service}_client" / "api").glob("*/[!_]*.py")
    schemas = json.loads((clients.folder / f"{service}.json").read_text())["components"]["schemas"]
    models = (clients.folder / f"{service}_client" / "models" / "__init__.py").read_text()

    assert clients.said[service] == f"Generating {clients.folder / service}_client\n"
    assert sorted(module.stem for module in modules) == sorted(map(snake_case, operations))
    assert schemas.keys() <= set(re.findall(r'^    "(\w+)",$', models, re.MULTILINE))


def snake_case(name):
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower()


@pytest.mark.parametrize("story", STORIES)
def test_the_client_does_what_its_types_say(clients, stack, story):
    settings = environment(PYTHONPATH=str(clients.folder), PYTHONDONTWRITEBYTECODE="1")
    secret = json.dumps({"admin_password": stack.admin_password})

    run([clients.python, PROGRAM, story, stack.url], settings, input=secret)
