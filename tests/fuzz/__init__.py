"""Hostile files for everything that reads files: ``samples`` makes good ones, ``mutations`` spoils them.

``targets`` says what is fed to whom, ``run`` does it: ``python tests/fuzz/run.py --count 100000 --seed 7``.
"""
