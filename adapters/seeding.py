"""The global sources of random numbers: set for one call of an attack, and put back after it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Set the generators of Python, NumPy and torch (CPU and CUDA) to a seed, and put them back at the end.

    Args:
        seed: at least 0. NumPy takes 32 bits of it.
    """
    # A CUDA that is not in use yet is left alone: nothing draws from it.
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 - what libraries draw from
    on_devices = [torch.cuda.get_rng_state(device) for device in devices]
    try:
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 - as above
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed_all(seed)
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002 - as above
        torch.set_rng_state(states[2])
        for device, state in zip(devices, on_devices, strict=True):
            torch.cuda.set_rng_state(state, device)


def derived(seed: int, content: bytes = b"") -> int:
    """A seed of 32 bits that depends on a seed and on some content, such as an image's."""
    return int.from_bytes(hashlib.blake2b(str(seed).encode() + content, digest_size=4).digest())
