"""TensorFlow's tests compare with live oracles: they need the ``parity-tf`` extra, and none of them may be skipped.

transformers 4.46.3 is the last version with TensorFlow models in it, and needs the older Keras beside it.
"""

from nothing_skipped import pytest_sessionfinish as pytest_sessionfinish


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", "default")  # TensorFlow's own, of which there are many
