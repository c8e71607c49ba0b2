"""Foolbox."""

from __future__ import annotations

from bench.libraries import Library

LIBRARY = Library(
    name="foolbox",
    label="Foolbox",
    attacker="adapters.foolbox.attacker:ATTACKER",
    packages=("foolbox", "numba"),
    install="pip install foolbox numba",
    marker="o",
)
