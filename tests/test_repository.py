"""Rules for the repository itself."""

import ast
import re
from functools import cache

import pytest

from tests.local_stack import ROOT, tracked_files

MAX_FUNCTION_LINES = 40


@cache
def files(*endings):
    return [ROOT / name for name in tracked_files() if name.endswith(endings)]


def tree(path):
    return ast.parse(path.read_text())


def test_no_function_is_longer_than_40_lines():
    functions = (
        (f"{path.relative_to(ROOT)}:{node.name}", node.end_lineno - node.lineno + 1)
        for path in files(".py")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )

    assert {name: lines for name, lines in functions if lines > MAX_FUNCTION_LINES} == {}


def test_there_are_no_todos_and_no_skipped_tests():
    # The brackets keep this line from finding itself.
    banned = re.compile(
        "# ?TOD[O]|FIXM[E]|XX[X]|NotImplemente[d]|skip[i]f|pytest.mark.ski[p]|x[f]ail[(]|pragma: n[o] cover"
    )

    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in files(".py", ".sh", ".yml", ".template")
        for line in path.read_text().splitlines()
        if banned.search(line)
    ]

    assert found == []


@pytest.mark.parametrize("name", ["local", "test", "user_service", "task_service"])
def test_requirements_are_pinned_with_hashes_and_no_index(name):
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    requirements = re.split(r"\n(?=\S)", text.strip())

    assert all("==" in requirement and "--hash=sha256:" in requirement for requirement in requirements)
    assert "://" not in text


def test_the_requirements_are_those_of_the_projects():
    for name, sources_ in {
        "user_service": ["user_service/pyproject.toml", "chassis/pyproject.toml"],
        "task_service": ["task_service/pyproject.toml", "chassis/pyproject.toml"],
    }.items():
        wanted = {
            found.lower()
            for source in sources_
            for found in re.findall(r'^    "([A-Za-z0-9-]+)[><=]', (ROOT / source).read_text(), re.MULTILINE)
        }
        pinned = set(re.findall("^([a-z0-9-]+)==", (ROOT / "requirements" / f"{name}.txt").read_text(), re.MULTILINE))
        assert wanted, name
        assert wanted <= pinned, name


def readers():
    """Return the functions of env.py that read a setting: those with its name as their first argument."""
    (module,) = (path for path in files(".py") if path.name == "env.py")
    functions = (node for node in tree(module).body if isinstance(node, ast.FunctionDef) and node.args.args)
    return {node.name for node in functions if node.args.args[0].arg == "name"}


def settings_in_the_code():
    """Return every setting that Python reads by env.py or os.environ, or that a shell expands."""
    known = {*readers(), "database", "chosen"}
    for path in files(".py"):
        if {"testing", "tests"} & set(path.parts):
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and called(node) in known:
                names = node.args if called(node) == "database" else node.args[:1]
                yield from (arg.value for arg in names if is_setting(arg))
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "os.environ.get":
                yield from (arg.value for arg in node.args[:1] if is_setting(arg))
            if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ" and is_setting(node.slice):
                yield node.slice.value
    for path in files(".envsh"):
        yield from re.findall(r"\$\{([A-Z][A-Z_]+):-", path.read_text())
    yield from (name for name, _ in settings_of_containers())


def settings_of_containers():
    """Return the name and default of each setting that only docker-compose.yml reads."""
    return re.findall(r"\$\{(CONTAINER_[A-Z]+):-([^}]+)\}", (ROOT / "docker-compose.yml").read_text())


def called(call):
    return ast.unparse(call.func).rpartition(".")[2]


def is_setting(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch("[A-Z][A-Z_]+", node.value)


def defaults_in_the_code():
    """Return the name and default of each setting, once for each place that reads it."""
    known = readers()
    calls = (
        node
        for path in files(".py")
        if not {"testing", "tests"} & set(path.parts)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and called(node) in known and len(node.args) > 1 and is_setting(node.args[0])
    )
    for name, default in (call.args[:2] for call in calls):
        if isinstance(default, ast.Constant):
            yield name.value, str(default.value).lower() if isinstance(default.value, bool) else str(default.value)
    for path in files(".envsh"):
        yield from re.findall(r"\$\{([A-Z][A-Z_]+):-([^}$]*)\}", path.read_text())
    yield from settings_of_containers()


def sample_settings():
    return dict(re.findall(r"^#([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))


def test_the_sample_file_has_exactly_the_settings_of_the_code():
    # Set by our programs for each other, or by pyenv.
    handed_on = {"DJANGO_SETTINGS_MODULE", "FUZZ_SETUP", "MANAGE_COMMAND", "PATH", "PYENV_ROOT"}

    assert sorted(sample_settings()) == sorted(set(settings_in_the_code()) - handed_on)


def test_the_sample_settings_have_the_defaults_of_the_code():
    defaults = {name: set() for name in sample_settings()}
    for name, default in defaults_in_the_code():
        defaults[name].add(default)

    wrong = {name: value for name, value in sample_settings().items() if value not in (defaults[name] or {""})}

    assert wrong == {}


def test_gateway_and_services_share_the_request_id_rule():
    source = (ROOT / "chassis" / "request_id.py").read_text()
    rule = re.search(r're\.compile\(r"(.+?)"\)', source).group(1)

    assert f'"~^{rule}$"' in (ROOT / "gateway" / "templates" / "tmservice.conf.template").read_text()
