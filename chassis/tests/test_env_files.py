"""Settings in .env files, and in files that NAME_FILE names."""

import os

import pytest

from chassis.ops import env


def test_the_environment_wins_over_the_file_unless_it_is_empty(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("SET=file\nEMPTY=file\n")
    monkeypatch.setenv("TMSERVICE_ENV_FILE", str(tmp_path / ".env"))
    monkeypatch.setenv("SET", "environment")
    monkeypatch.setenv("EMPTY", "")

    env.load_dotenv()

    assert (os.environ["SET"], os.environ["EMPTY"]) == ("environment", "file")


def test_a_file_is_parsed_without_changing_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("ONE", raising=False)
    (tmp_path / ".env").write_text("# a comment\nexport ONE='two words'\n\nURL=postgresql://u:p@h/d?a=b#c\nNONE=\n")
    (tmp_path / "second").write_text("TWO=2\n")

    assert env.read_dotenv(tmp_path / ".env") == {"ONE": "two words", "URL": "postgresql://u:p@h/d?a=b#c", "NONE": ""}
    assert env.read_dotenv(tmp_path / "second") == {"TWO": "2"}
    assert "ONE" not in os.environ


def test_the_env_file_is_optional(monkeypatch, tmp_path):
    monkeypatch.setenv("TMSERVICE_ENV_FILE", str(tmp_path / "absent"))
    before = dict(os.environ)

    env.load_dotenv()

    assert dict(os.environ) == before


SECRET = "correct-horse-battery-staple"


@pytest.mark.parametrize("line", [SECRET, f"ADMIN_PASSWORD {SECRET}", f"export: {SECRET}", f"ADMIN-PASSWORD={SECRET}"])
def test_an_invalid_line_is_reported_by_number_only(tmp_path, caplog, line):
    file = tmp_path / ".env"
    file.write_text(f"# a comment\n\nLOG_LEVEL=INFO\n{line}\n")

    with pytest.raises(env.SettingError) as refusal:
        env.read_dotenv(file)

    assert str(refusal.value) == f"{file}, line 4: this is neither NAME=VALUE nor a comment that begins with #."
    assert caplog.text == ""


@pytest.fixture
def file(monkeypatch, tmp_path):
    monkeypatch.setenv("SETTING_FILE", str(tmp_path / "value"))
    return tmp_path / "value"


@pytest.mark.parametrize(
    ("in_environment", "content", "expected"),
    [
        ("", "of the file\n", "of the file"),
        ("of the environment", "of the file", "of the environment"),
        ("", "\n", "-"),
    ],
)
def test_a_setting_can_be_read_from_a_file(monkeypatch, file, in_environment, content, expected):
    file.write_text(content)
    monkeypatch.setenv("SETTING", in_environment)

    assert env.text("SETTING", "-") == expected


def test_a_database_url_may_be_in_a_file(file):
    file.write_text("postgresql://task:secret@db.test/tasks")

    assert env.database("SETTING", "OTHER_SETTING")["HOST"] == "db.test"


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_an_unreadable_file_is_rejected(file, content):
    if content:
        file.write_bytes(content)

    with pytest.raises(env.SettingError, match=r"^SETTING_FILE names a file that cannot be read: "):
        env.text("SETTING")
