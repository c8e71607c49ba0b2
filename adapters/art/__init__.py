"""Adversarial Robustness Toolbox (ART)."""

from __future__ import annotations

from bench.libraries import Library

LIBRARY = Library(
    name="art",
    label="ART",
    attacker="adapters.art.attacker:ATTACKER",
    packages=("adversarial-robustness-toolbox", "numba"),
    install="pip install adversarial-robustness-toolbox numba",
    marker="s",
)
