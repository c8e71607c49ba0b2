"""Settings of every test."""

from __future__ import annotations

from hypothesis import settings

# Machines are noisy; how long an example takes says nothing about the code.
settings.register_profile("bench", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("bench")
