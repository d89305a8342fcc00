"""A .env file means the same to Docker Compose and to us, or is refused by us.

The table holds what compose made of each file; scripts/try-compose compares it with the compose of this machine.
"""

import json

import pytest

from chassis.ops import env
from tests.local_stack import ROOT

ROWS = json.loads((ROOT / "tests" / "data" / "dotenv.json").read_text())
ACCEPTED = [row for row in ROWS if "both" in row]
REFUSED = [row for row in ROWS if "refused" in row]


def read(tmp_path, content):
    (tmp_path / ".env").write_bytes(content)
    return env.read_dotenv(tmp_path / ".env")


@pytest.mark.parametrize("row", ACCEPTED, ids=lambda row: repr(row["file"]))
def test_a_line_is_read_as_compose_reads_it(tmp_path, row):
    values = read(tmp_path, row["file"].encode())

    assert {name: value for name, value in values.items() if value} == row["both"]


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: repr(row["file"]))
def test_an_ambiguous_line_is_refused_with_its_number(tmp_path, row):
    with pytest.raises(env.SettingError) as refused:
        read(tmp_path, row["file"].encode())

    assert str(refused.value).startswith(f"{tmp_path}/.env, line {row['refused']}: ")
    assert "pa$word" not in str(refused.value)


@pytest.mark.parametrize("content", [b"A=\xff\xfe", b"\xff\xfeA\0=\0b\0"])
def test_a_file_that_is_not_utf8_is_refused(tmp_path, content):
    with pytest.raises(env.SettingError, match="cannot be read"):
        read(tmp_path, content)


def test_scripts_run_names_file_and_line(own_stack, tmp_path):
    file = tmp_path / "settings"
    file.write_text("GATEWAY_PORT=8080\nADMIN_PASSWORD=pa$word1\n")

    refused = own_stack.run("--detach", TMSERVICE_ENV_FILE=str(file))

    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        f"scripts/run: {file}, line 2: write the value in single quotes, NAME='VALUE', "
        "or see the top of .env.example for the syntax.\n"
    )
