"""What the facts of several chapters have in common."""

from __future__ import annotations

from typing import Any

Facts = dict[str, Any]
"""Plain values by name, as templates read them."""

DROPOUT = (("MLP", "MLP_d"), ("CNN", "CNN_d"))
"""A network, and the same trained with dropout."""
