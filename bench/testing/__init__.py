"""Tests for what users bring, to be called from their own tests.

::

    from bench.testing import check_attack

    def test_my_attack():
        check_attack(my_attack, norm="l2")
"""

from __future__ import annotations

from bench.testing.attacks import AttackError, check_attack

__all__ = ["AttackError", "check_attack"]
