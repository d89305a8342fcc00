import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """pytest-xdist transfers output as UTF-8, which has no lone surrogates."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report
