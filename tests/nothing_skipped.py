"""Where an oracle, a browser or workers are asked, a skipped test would hide that they weren't: it's a failure.

The folders that plain ``pytest`` leaves out take this hook into their conftest.py.
"""


def pytest_sessionfinish(session, exitstatus):
    """A skipped (or expected to fail) test fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    unasked = [report for kind in ("skipped", "xfailed") for report in reporter.stats.get(kind, [])]
    if unasked and exitstatus == 0:
        reporter.write_line(f"{len(unasked)} tests were skipped, and none may be", red=True)
        session.exitstatus = 1
