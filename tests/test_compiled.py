"""Solvers that numba cannot keep on disk are kept there, wherever that is possible."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numba
import numpy as np
import pytest
from filelock import FileLock
from numba.core import caching, config
from solvers import Halfway

from adapters import compiled
from adapters.compiled import CachedSolver


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    compiled._compiled.cache_clear()
    yield
    compiled._compiled.cache_clear()


def step() -> list[float]:
    solver = CachedSolver(Halfway)
    zeros = np.zeros(3)
    return [list(solver.solve(zeros, np.full(3, 2.0), zeros, 0, 1, 0.5, 0.1)) for _ in range(2)][1]


def test_what_is_compiled_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    for _ in range(2):
        assert step() == [-1.0, -1.0, -1.0]
        compiled._compiled.cache_clear()
    assert len(list(tmp_path.rglob("*.nbi"))) == 1


def test_another_process_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    solver = CachedSolver(Halfway)
    zeros = np.zeros(3)
    assert list(solver.solve(zeros, np.full(3, 2.0), zeros, 0, 1, 0.5, 0.1)) == [-1.0, -1.0, -1.0]
    stats = solver._solve.stats
    assert (sum(stats.cache_hits.values()), sum(stats.cache_misses.values())) == (1, 0)


def test_where_no_other_process_can_be_started_this_one_compiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert step() == [-1.0, -1.0, -1.0]


def test_without_a_folder_each_process_compiles_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    with pytest.raises(RuntimeError, match="no locator available"):
        numba.njit(cache=True)(step)
    assert step() == [-1.0, -1.0, -1.0]


@pytest.mark.parametrize("where", ["/proc/nowhere", "/dev/null/below"])
def test_a_folder_that_cannot_be_made_is_no_obstacle(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", where)
    assert step() == [-1.0, -1.0, -1.0]


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EROFS, errno.ENOLCK, errno.EMFILE])
def test_a_folder_that_cannot_be_written_when_it_matters_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: int
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiled, "_compile_apart", lambda *asked: None)
    monkeypatch.setattr(caching.IndexDataCacheFile, "_open_for_write", refuse)
    assert step() == [-1.0, -1.0, -1.0]
    assert not list(tmp_path.rglob("*.nbi"))


def test_a_process_that_holds_the_lock_for_ever_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiled, "PATIENCE", 0.1)
    solver = CachedSolver(Halfway)
    folder = Path(solver._solve.stats.cache_path)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{solver._solve.__name__}.lock"):
        assert step() == [-1.0, -1.0, -1.0]
