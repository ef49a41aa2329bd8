"""TensorFlow's tests compare with live oracles: they need the ``parity-tf`` extra, and none of them may be skipped.

transformers 5 has no TensorFlow models any more; 4.46.3 has, and needs the older Keras beside it.
"""

from nothing_skipped import pytest_sessionfinish as pytest_sessionfinish


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", "default")  # TensorFlow's own, of which there are many
