"""Tests for what users bring, to be called from their own tests.

::

    from bench.testing import assert_robust, check_attack

    def test_my_network():
        assert_robust(my_network, images, labels, requirements=["l2.median >= 1.0"])

    def test_my_attack():
        check_attack(my_attack, norm="l2")
"""

from __future__ import annotations

from bench.testing.attacks import AttackError, check_attack
from bench.testing.robust import RobustnessError, assert_robust

__all__ = ["AttackError", "RobustnessError", "assert_robust", "check_attack"]
