"""Parity tests compare with live oracles: they need the ``parity`` extra, and none of them may be skipped."""

import torch

_register_fake = torch.library.register_fake


def _without_torchvision(op, func=None, **options):
    # torchvision has no CPU build for every torch; its operators' fakes then fail to register, and timm and
    # transformers, which need none of these operators, would not import.
    if isinstance(op, str) and op.startswith("torchvision::"):
        return func if func is not None else (lambda wrapped: wrapped)
    return _register_fake(op, func, **options) if func is not None else _register_fake(op, **options)


torch.library.register_fake = _without_torchvision
torch.set_num_threads(1)  # on a busy machine two threads wait for each other a hundred times longer than they work


def pytest_sessionfinish(session, exitstatus):
    """A skipped (or expected to fail) parity test is a failure: it would hide that an oracle wasn't asked."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    unasked = [report for kind in ("skipped", "xfailed") for report in reporter.stats.get(kind, [])]
    if unasked and exitstatus == 0:
        reporter.write_line(f"{len(unasked)} parity tests were skipped, and none may be", red=True)
        session.exitstatus = 1
