"""TensorFlow's tests compare with live oracles: they need the ``parity-tf`` extra, and none of them may be skipped.

transformers 4.46.3 is the last version with TensorFlow models in it, and needs the older Keras beside it.
"""


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", "default")  # TensorFlow's own, of which there are many


def pytest_sessionfinish(session, exitstatus):
    """A skipped (or expected to fail) parity test is a failure: it would hide that an oracle wasn't asked."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    unasked = [report for kind in ("skipped", "xfailed") for report in reporter.stats.get(kind, [])]
    if unasked and exitstatus == 0:
        reporter.write_line(f"{len(unasked)} parity tests were skipped, and none may be", red=True)
        session.exitstatus = 1
