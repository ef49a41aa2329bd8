"""Tests with Dask, the extra ``scale``: run by ``pytest tests/scale``, not by ``pytest``. None may be skipped."""


def pytest_sessionfinish(session, exitstatus):
    """A skipped (or expected to fail) test is a failure: it would hide that no worker worked."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    unasked = [report for kind in ("skipped", "xfailed") for report in reporter.stats.get(kind, [])]
    if unasked and exitstatus == 0:
        reporter.write_line(f"{len(unasked)} tests were skipped, and none may be", red=True)
        session.exitstatus = 1
