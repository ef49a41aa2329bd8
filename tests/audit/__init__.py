"""Public ports of MobileViT, from the package index at pinned versions, held against the reference.

``python -m tests.audit`` prints the table of README. Each port is a small file in ``adapters``.
"""
