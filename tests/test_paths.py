"""Paths of attacks in a network of two inputs: what is recorded is what the rows asked and found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import suites
from bench.guide import paths
from bench.specs import AttackSpec

STORED = Path(__file__).parent.parent / paths.OUT


def row(name: str) -> AttackSpec:
    for suite in paths.SUITES:
        for one in suites.load(suite).rows:
            if one.name == name:
                assert isinstance(one, AttackSpec)
                return one
    raise AssertionError(name)


def nearest() -> float:
    """The L2 distance to the nearest point of another class, on a fine grid around the clean point."""
    ends = torch.linspace(0, 1, 1001, dtype=torch.float64)
    up, across = torch.meshgrid(ends, ends, indexing="ij")
    points = torch.stack([across.ravel(), up.ravel()], 1)
    wrong = points[paths.Toy().double()(points).argmax(1) != paths.LABEL]
    return float((wrong - torch.tensor(paths.CLEAN, dtype=torch.float64)).norm(dim=1).min())


@pytest.mark.parametrize("name", ["foolbox-ddn-l2", "foolbox-deepfool-l2", "paper-fab-l2"])
def test_a_path_ends_on_an_adversarial_point_that_no_grid_point_undercuts(name: str) -> None:
    path = paths.walk(row(name))
    found = torch.tensor([path.found])
    assert int(paths.Toy()(found).argmax(1)) != paths.LABEL
    # The grid is 0.001 wide, results are rounded to four digits.
    assert nearest() - 2e-3 <= path.distance <= 1.1 * nearest()
    assert path.distance == pytest.approx(float(np.linalg.norm(np.subtract(path.found, paths.CLEAN))), abs=2e-4)


def test_queries_are_kept_in_order_from_the_first_to_the_last() -> None:
    path = paths.walk(row("foolbox-ddn-l2"))
    assert path.asked > len(path.queries) == paths.POINTS
    assert np.allclose(path.queries[0], paths.CLEAN, atol=1e-3)
    away = np.linalg.norm(np.subtract(path.queries, paths.CLEAN), axis=1)
    assert abs(away[-20:].mean() - path.distance) < abs(away[1:20].mean() - path.distance) + 0.05


def test_the_same_row_walks_the_same_path() -> None:
    assert paths.walk(row("foolbox-hopskipjump-l2")) == paths.walk(row("foolbox-hopskipjump-l2"))


def test_every_method_has_one_row_and_the_libraries_own_code_comes_first() -> None:
    chosen = paths.rows()
    slugs = [one.method.slug for one in chosen]
    assert len(slugs) == len(set(slugs))
    every = {
        one.method.slug for suite in paths.SUITES for one in suites.load(suite).rows if isinstance(one, AttackSpec)
    }
    assert set(slugs) == every
    assert {one.method.slug: one.name for one in chosen}["deepfool"] == "art-deepfool-l2"


@pytest.mark.skipif(not STORED.parent.exists(), reason="a source distribution has no results")
def test_the_stored_paths_are_of_todays_rows_and_network() -> None:
    content = json.loads(STORED.read_text())
    assert [path["row"] for path in content["paths"]] == [one.name for one in paths.rows()]
    assert content["classes"] == paths.classes()
    assert content["clean"] == list(paths.CLEAN)
    again = paths.walk(row("art-deepfool-l2"))
    (kept,) = (path for path in content["paths"] if path["row"] == "art-deepfool-l2")
    assert kept["found"] == pytest.approx(list(again.found), abs=1e-3)
    assert kept["asked"] == again.asked
