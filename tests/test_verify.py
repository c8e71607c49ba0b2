"""Judging a stored run again whose network is a module of the calling program: it needs the module, and says so."""

from __future__ import annotations

from pathlib import Path

import points
import pytest
import torch

import bench
from bench.engine.verify import verify
from bench.errors import NetworkError
from bench.records import Status
from bench.report import __main__ as command
from bench.store import Run


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run over six inputs of a network that no file leads to."""
    inputs = torch.rand((6, 6), generator=torch.Generator().manual_seed(1))
    network = points.network(6)
    labels = network(inputs).argmax(1)
    folder = tmp_path_factory.mktemp("live") / "run"
    result = bench.evaluate(
        {"mine": network},
        inputs,
        labels,
        box=(0, 1),
        classes=3,
        attacks=["foolbox-ddn-l2"],
        out=folder,
        workers=0,
        progress=False,
    )
    return result.run


def test_a_live_network_is_judged_again_when_it_is_given(live: Run) -> None:
    (entry,) = live.manifest["networks"]
    name = str(entry["source"]).removeprefix("live:")
    found = verify(live, {name: points.network(6)})
    assert found.judged == (live.records()["status"] == Status.FOUND).sum() > 0
    assert found.broken == ()
    assert found.computed == found.blocks == 1
    assert found.unchecked == (
        "images and labels could not be compared with a dataset: a program gave them; the stored ones were used",
    )


def test_another_live_network_is_refused(live: Run) -> None:
    other = points.network(6)
    with torch.no_grad():
        next(other.parameters()).add_(1)
    (entry,) = live.manifest["networks"]
    with pytest.raises(NetworkError, match="is not the run's any more"):
        verify(live, {str(entry["source"]).removeprefix("live:"): other})


def test_the_command_line_says_in_one_line_that_it_has_no_live_network(
    live: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--verify", str(Path(live.path))]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: network mine is a module of another program")
    assert errors.count("\n") == 1
