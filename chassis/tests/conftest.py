import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """What a test has printed goes from one process to another as UTF-8, which knows no lone surrogates."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report
