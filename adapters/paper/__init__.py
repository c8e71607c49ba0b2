"""Attacks that no library has, written here from their papers."""

from __future__ import annotations

from bench.libraries import Library

LIBRARY = Library(name="paper", label="paper", attacker="adapters.paper.attacker:ATTACKER", ours=True, marker="D")
