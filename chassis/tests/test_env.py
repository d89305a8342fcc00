import pytest

from chassis import env


def test_a_setting_that_is_missing_is_named_with_where_to_look(monkeypatch):
    monkeypatch.delenv("JWT_SIGNING_KEY", raising=False)

    with pytest.raises(env.SettingError, match=r"^JWT_SIGNING_KEY is not set; see \.env\.example\.$"):
        env.secret("JWT_SIGNING_KEY")
