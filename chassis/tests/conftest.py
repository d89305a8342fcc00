from datetime import timedelta

import pytest
from django.utils import timezone

from chassis.tests.urls import Notes


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """pytest-xdist transfers output as UTF-8, which has no lone surrogates."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture
def stopped_clock(monkeypatch):
    """Stops Django's clock at an instant after the defaults of rows that a test creates, and returns the instant."""
    instant = timezone.now() + timedelta(minutes=1)
    monkeypatch.setattr(timezone, "now", lambda: instant)
    return instant


@pytest.fixture
def before_answering(monkeypatch):
    """Runs a function after a note is created and before the response is stored."""
    return lambda happen: monkeypatch.setattr(Notes, "before_answering", staticmethod(happen))
