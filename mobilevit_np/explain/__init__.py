"""A network explained: what it's made of (``summary``), and a photo's way through it (``explanation``, ``page``).

Nothing is imported here, so that each command loads its own only.
"""
