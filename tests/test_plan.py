"""Plans: every image once per row, seeds that depend on nothing else, and words for what a plan cannot be."""

from __future__ import annotations

from dataclasses import replace

import fakes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import data
from bench.engine import costs
from bench.engine.images import Images
from bench.engine.plan import block_seed, choose, expected_seconds, holes, with_exact, with_norms
from bench.engine.task import Expected
from bench.errors import UsageError
from bench.networks import Identity
from bench.norms import Norm
from bench.specs import Family, Hole, Kind, Start, Suite, VerifierSpec

ROWS = (
    fakes.row("noise", block=4),
    fakes.row("clean", block=3, norm=Norm.L0, cap=5),
    fakes.row("nan", block=50, norm=Norm.LINF),
)
HOLES = (
    Hole(family=Family.CW, norm=Norm.L0, library="fake", reason="there is none"),
    Hole(family=Family.CW, norm=Norm.L1, library="fake", reason="another norm"),
)
SUITE = Suite(name="fake", description="", rows=ROWS, holes=HOLES, samples=10)

NOTHING = Expected(Identity("", ()))


@given(samples=st.integers(1, 60))
def test_every_row_gets_every_image_once_or_the_first_up_to_its_cap(samples: int) -> None:
    made = fakes.plan(*ROWS, samples=samples, networks=("MLP", "CNN"))
    blocks = made.blocks()
    for network in ("MLP", "CNN"):
        for row in ROWS:
            images = [i for b in blocks if b.row == row and b.network.name == network for i in b.images]
            assert images == list(range(min(samples, row.cap or samples)))
    assert all(len(block.images) <= block.row.block for block in blocks)
    assert made.records == sum(len(block.images) for block in blocks)
    assert len({block.key for block in blocks}) == len(blocks)


def test_a_blocks_seed_depends_on_nothing_but_what_it_is() -> None:
    small, large = fakes.plan(ROWS[0], samples=8), fakes.plan(*ROWS, samples=40, networks=("CNN", "MLP"))
    seeds = {block.key: block.seed for block in large.blocks()}
    assert len(set(seeds.values())) == len(seeds)
    assert all(seeds[block.key] == block.seed for block in small.blocks())
    assert block_seed(0, "MLP", "a", 0) != block_seed(1, "MLP", "a", 0)
    assert all(0 <= seed < 2**31 for seed in seeds.values())


def test_a_block_cut_into_single_images_shares_its_time() -> None:
    made = fakes.plan(fakes.row("noise", block=4), samples=4, time_limit=3.0)
    (block,) = made.blocks()
    assert block.limit == 12.0
    images = Images(data.find("mnist"), "test", made)
    task = images.task(block, "cpu", NOTHING)
    pieces = task.singly()
    assert [(piece.block.images, piece.limit) for piece in pieces] == [((i,), 3.0) for i in range(4)]
    assert np.array_equal(np.concatenate([piece.inputs for piece in pieces]), task.inputs)


def test_a_task_carries_the_images_of_its_block_and_where_to_start_from() -> None:
    row = replace(fakes.row("noise", block=3), start=Start.NEAREST)
    made = replace(fakes.plan(row, fakes.row("clean")), indices=(7, 5, 11, 2))
    dataset = data.find("mnist")
    images = Images(dataset, "test", made)
    inputs, labels = dataset.load("test", (7, 5, 11))
    task = images.task(made.blocks()[0], "cpu", NOTHING)
    assert task.block.images == (7, 5, 11)
    assert np.array_equal(task.inputs, inputs)
    assert np.array_equal(task.labels, labels)
    assert task.starts.shape == (3, 16, 1, 28, 28)
    assert images.task(made.blocks()[-1], "cpu", NOTHING).starts.shape[1] == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, ["fake-noise-l2", "fake-clean-l0", "fake-nan-linf"]),
        ({"norms": ["L0", "linf"]}, ["fake-clean-l0", "fake-nan-linf"]),
        ({"attacks": ["*-N*"]}, ["fake-noise-l2", "fake-nan-linf"]),
        ({"libraries": ["FAKE"], "norms": ["l2"]}, ["fake-noise-l2"]),
    ],
)
def test_rows_are_chosen_by_norm_library_and_name(arguments: dict[str, list[str]], expected: list[str]) -> None:
    assert [row.name for row in choose(SUITE, **arguments)] == expected


def test_what_leaves_no_row_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no attack of suite 'fake' is left by --norms l0, --attacks fake-nan-linf"):
        choose(SUITE, norms=["l0"], attacks=["fake-nan-linf"])


def test_holes_are_those_of_the_chosen_norms() -> None:
    assert holes(SUITE, choose(SUITE, norms=["l0"])) == HOLES[:1]


def test_the_exact_search_is_limited_or_left_out() -> None:
    exact = VerifierSpec(slug="exact", title="exact", norm=Norm.L2, kind=Kind.EXACT, seconds=5)
    lower = replace(exact, slug="root", kind=Kind.LOWER)
    suite = replace(SUITE, rows=(lower, exact))
    assert with_exact(suite, None) == suite
    assert with_exact(suite, 30.0).rows == (lower, replace(exact, seconds=30.0))
    assert with_exact(suite, 0.0).rows == (lower,)
    waiting = replace(suite, rows=(lower, replace(exact, seconds=0)))
    assert with_exact(waiting, None).rows == (lower,)
    assert with_exact(waiting, 30.0).rows == (lower, replace(exact, seconds=30.0))


def test_rows_of_other_norms_run_on_request_alone() -> None:
    usual, other = fakes.row("noise"), replace(fakes.row("noise"), norm=Norm.L1)
    suite = Suite(name="fake", description="", rows=(usual,), on_request=(other,), samples=4)
    assert with_norms(suite, None).rows == with_norms(suite, ["L2"]).rows == (usual,)
    assert choose(with_norms(suite, ["L1"]), norms=["L1"]) == (other,)
    with pytest.raises(UsageError, match=r"norm 'l0'.*l2, l1"):
        choose(with_norms(suite, ["l0"]), norms=["l0"])


def test_a_long_search_gets_the_wall_time_that_it_needs() -> None:
    exact = VerifierSpec(slug="exact", title="exact", norm=Norm.L2, kind=Kind.EXACT, seconds=5)
    chosen = fakes.plan(ROWS[0], time_limit=60)
    assert chosen.limit(exact) == chosen.limit(ROWS[0]) == 60
    assert chosen.limit(replace(exact, seconds=1000)) == 3000


def test_a_block_takes_what_its_images_should_take() -> None:
    (first, *_) = fakes.plan(ROWS[0], samples=4).blocks()
    assert expected_seconds(first, {"MLP": {first.row.name: 0.5}, "CNN": {first.row.name: 2.0}}) == 2.0
    assert expected_seconds(first, {"CNN": {first.row.name: 2.0}}) == 4 * costs.UNKNOWN
