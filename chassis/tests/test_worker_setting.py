"""RUN_WORKER: where the background jobs run."""

import pytest

from chassis.ops import env, settings


@pytest.mark.parametrize("value", ["separate", "inline"])
def test_a_known_value_is_accepted(monkeypatch, value):
    monkeypatch.setenv("RUN_WORKER", value)

    assert settings.run_worker() == value


def test_jobs_are_separate_by_default(monkeypatch):
    monkeypatch.delenv("RUN_WORKER", raising=False)

    assert settings.run_worker() == "separate"


def test_the_old_value_is_read_with_a_warning(monkeypatch, caplog):
    monkeypatch.setenv("RUN_WORKER", "apart")

    assert settings.run_worker() == "separate"
    assert caplog.messages == ["RUN_WORKER=apart is now called separate; the next version will not read the old value."]


def test_another_value_is_rejected(monkeypatch):
    monkeypatch.setenv("RUN_WORKER", "sometimes")

    with pytest.raises(env.SettingError, match=r"^RUN_WORKER must be one of separate, inline, not 'sometimes'\.$"):
        settings.run_worker()
