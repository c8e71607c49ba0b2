"""Adversarial Library (adv-lib), which is not installed with the bench."""

from __future__ import annotations

from bench.libraries import Library

LIBRARY = Library(
    name="advlib",
    label="adv-lib",
    attacker="adapters.advlib.attacker:ATTACKER",
    packages=("adv-lib",),
    install="python -m pip install --no-deps adv-lib",
    marker="^",
)
