"""Tests with Dask, the extra ``scale``: run by ``pytest tests/scale``, not by ``pytest``. None may be skipped."""

from nothing_skipped import pytest_sessionfinish as pytest_sessionfinish
