"""Support functions and cuts against sampled points."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from certified import SEEDS, every_norm, in_ball
from hypothesis import given
from numba.core import caching, config

from bench.certify import regions
from bench.certify.dense import propagation
from bench.certify.l0 import pixels
from bench.certify.pooled import windows
from bench.certify.pooled.propagation import Functions
from bench.certify.regions import compiled
from bench.norms import FloatArray, Norm


def _region(norm: Norm, random: np.random.Generator, pixels: int = 9) -> regions.Region:
    centre = np.clip(random.random(pixels) * 1.6 - 0.3, 0, 1)
    radius = float(random.integers(1, 4)) if norm is Norm.L0 else float(random.uniform(0.05, 1.0))
    return regions.Region.ball(norm, centre, radius)


@every_norm
@given(seed=SEEDS)
def test_support_functions_are_valid_and_tight(norm: Norm, seed: int) -> None:
    random = np.random.default_rng(seed)
    region = _region(norm, random)
    row, constant = random.standard_normal(9), float(random.standard_normal())
    values, points = region.suprema(row[None], np.array([constant]))
    sampled = in_ball(norm, region.centre, region.radius, 300, seed % 1000)
    assert values[0] >= (sampled @ row + constant).max()
    assert norm.of(points - region.centre)[0] <= region.radius * (1 + 1e-9)
    assert points.min() >= -1e-12
    assert points.max() <= 1 + 1e-12
    # Tight: the point that comes with the bound reaches it.
    assert values[0] == pytest.approx(float(points[0] @ row + constant), rel=1e-5, abs=1e-5)


@every_norm
@given(seed=SEEDS)
def test_bent_functions_are_valid_and_tight(norm: Norm, seed: int) -> None:
    random = np.random.default_rng(seed)
    region = _region(norm, random)
    row, spread = random.standard_normal((9, 1)), random.uniform(0, 1, (9, 1)) * (random.random((9, 1)) < 0.7)
    functions = Functions(row, spread, np.array([0.3]))
    values, moves = functions.suprema(region)

    def worth(d: FloatArray) -> FloatArray:
        return 0.3 + d @ row[:, 0] + np.abs(d) @ spread[:, 0]

    sampled = in_ball(norm, region.centre, region.radius, 300, seed % 1000) - region.centre
    assert values[0] >= worth(sampled).max()
    assert norm.of(moves.T)[0] <= region.radius * (1 + 1e-9)
    assert (region.centre + moves[:, 0]).min() >= -1e-12
    assert (region.centre + moves[:, 0]).max() <= 1 + 1e-12
    # In L2 a pixel may turn round at the best multiplier, where no single move reaches the bound.
    assert values[0] <= worth(moves.T)[0] * (1.1 if norm is Norm.L2 else 1 + 1e-6) + 1e-6
    reach = functions.reach(region)
    assert 0 <= reach <= region.radius
    if 0 < reach < region.radius:
        closer = in_ball(norm, region.centre, reach, 300) - region.centre
        assert worth(closer).max() < 0


@every_norm
@given(seed=SEEDS)
def test_cuts_are_valid_where_the_cut_holds(norm: Norm, seed: int) -> None:
    random = np.random.default_rng(seed)
    region = _region(norm, random)
    cut = random.standard_normal(9)
    matrix, constants = np.vstack([random.standard_normal((4, 9)), -cut]), np.append(random.standard_normal(4), 0.0)
    sampled = in_ball(norm, region.centre, region.radius, 400, seed % 1000) - region.centre
    # A cut that some points keep and others do not.
    offset = -float(np.quantile(sampled @ cut, 0.7))
    values = regions.cut_suprema(region.arguments, matrix, constants, cut, offset, np.zeros(5), 12)
    kept = sampled[sampled @ cut + offset >= 0]
    assert len(kept)
    assert (values >= (kept @ matrix.T + constants).max(axis=0)).all()
    plain, _ = region.suprema(matrix, constants - matrix @ region.centre)
    # The search for the multiplier stops at any negative bound, and may stop a little above the bound without the cut; in L2
    # the multiplier of the ball is not sought to the end for each of the cut's.
    assert (values <= np.maximum(plain + (0.25 if norm is Norm.L2 else 0.02) * np.abs(plain) + 1e-6, 0)).all()
    # What the cut itself bounds.
    assert values[-1] <= max(offset + 0.05 * (1 + abs(offset)), 0)


def test_kept_kernels_depend_on_every_kernel() -> None:
    """A kernel that is kept on disk calls kernels of other files: it must not outlive a change of theirs."""
    stamps = {
        kernel._cache._cache_file._source_stamp  # type: ignore[attr-defined]
        for kernel in (propagation.best_margin, regions.cut_suprema, windows.fit_planes, pixels._lost)
        if hasattr(getattr(kernel, "_cache", None), "_cache_file")
    }
    assert stamps in (set(), {compiled.sources()})


def test_kernels_are_compiled_where_they_cannot_be_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(caching.IndexDataCacheFile, "_open_for_write", refuse)
    assert regions.jit(lambda value: value + 1.0)(1.0) == 2.0
    assert not list(tmp_path.rglob("*.nbi"))


class Pair(NamedTuple):
    one: float
    other: float


def test_kept_kernels_that_name_a_lost_class_are_compiled_and_kept_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))

    def first(pair: Pair) -> float:
        return pair.one

    assert regions.jit(first)(Pair(1.0, 2.0)) == 1.0
    (kept,) = tmp_path.rglob("*.nbi")
    kept.write_bytes(kept.read_bytes().replace(b"Pair", b"Lost"))
    assert regions.jit(first)(Pair(1.0, 2.0)) == 1.0
    again = regions.jit(first)
    assert again(Pair(1.0, 2.0)) == 1.0
    assert again.stats.cache_hits  # type: ignore[attr-defined]
