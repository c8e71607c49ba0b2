"""A gate for continuous integration: requirements on a stored run, each decided as held, broken or not decidable.

``python -m bench.check results/<run> --require "l2.median >= 1.0"``; see ``docs/gate.md``.
"""
