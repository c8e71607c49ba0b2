"""A network's robustness as a test of its own, on a linear network whose distances are known."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import bench
from bench.errors import StoreError, UsageError
from bench.testing import RobustnessError, assert_robust

QUICK: dict[str, Any] = {"box": (0, 1), "norms": ["l2"], "suite": "smoke", "attacks": ["foolbox-ddn-l2"], "workers": 0}
IMAGES = torch.linspace(0.2, 0.8, 12)[:, None].expand(12, 4).contiguous()
LABELS = (IMAGES.mean(1) > 0.5).long()


class Halves(nn.Module):
    """Class 1 where the mean of the four values is above 0.5: the distance in L2 is twice the mean's to 0.5."""

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__()
        self.middle = nn.Parameter(torch.tensor(0.5 + shift), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        ahead = (images.mean(1) - self.middle) * 10
        return torch.stack([-ahead, ahead], 1)


def test_a_network_that_keeps_what_is_required_gives_its_result() -> None:
    result = assert_robust(Halves(), IMAGES, LABELS, requirements=["l2.median >= 0.1", "clean_accuracy >= 1"], **QUICK)
    assert result.distances("l2").loc["network"].median() == pytest.approx(0.327, rel=0.02)


def test_a_failure_shows_lines_and_distances_and_keeps_the_run() -> None:
    with pytest.raises(RobustnessError) as caught:
        assert_robust(Halves(), IMAGES, LABELS, requirements=["l2.median >= 2", "verdict >= warn"], **QUICK)
    lines = str(caught.value).splitlines()
    assert isinstance(caught.value, AssertionError)
    assert lines[0] == "1 of 2 requirements do not hold"
    assert lines[1].startswith("broken ")
    assert lines[2].startswith("held ")
    (shown,) = [line for line in lines if line.startswith("L2 distances of network: ")]
    assert re.search(r"nearest: image [56]: 0\.054", shown)
    folder = re.fullmatch(r"the run is in (\S+); python -m bench.report \1 writes its report", lines[-1])
    assert folder is not None
    assert bench.open_run(folder[1]).medians().loc["network", "l2"] == pytest.approx(0.327, rel=0.02)


def test_the_run_of_a_failure_lies_where_it_was_wanted(tmp_path: Path) -> None:
    with pytest.raises(RobustnessError, match=re.escape(f"the run is in {tmp_path / 'run'}; ")):
        assert_robust(Halves(), IMAGES, LABELS, requirements="l2.median >= 2", out=tmp_path / "run", **QUICK)
    assert bench.open_run(tmp_path / "run").networks == ("network",)


def test_what_so_few_images_cannot_decide_fails_unless_it_passes() -> None:
    required = "l2.robust_accuracy[0.3] >= 0.5"
    with pytest.raises(RobustnessError, match=r"not decidable  network: l2\.robust_accuracy"):
        assert_robust(Halves(), IMAGES, LABELS, requirements=required, **QUICK)
    assert_robust(Halves(), IMAGES, LABELS, requirements=required, undecided="pass", **QUICK)
    with pytest.raises(RobustnessError, match="1 of 2"):
        assert_robust(Halves(), IMAGES, LABELS, requirements=[required, "l2.median >= 2"], undecided="pass", **QUICK)


def test_a_network_is_compared_with_a_stored_run(tmp_path: Path) -> None:
    bench.evaluate({"main": Halves()}, IMAGES, LABELS, out=tmp_path / "main", progress=False, **QUICK)
    compared: dict[str, Any] = {"requirements": "l2 no-worse", "baseline": tmp_path / "main", **QUICK}
    assert_robust(Halves(), IMAGES, LABELS, **compared)
    # A boundary that moved makes the images of one class nearer: here those of class 1 alone.
    ones = LABELS == 1
    bench.evaluate({"main": Halves()}, IMAGES[ones], LABELS[ones], out=tmp_path / "ones", progress=False, **QUICK)
    compared["baseline"] = tmp_path / "ones"
    with pytest.raises(RobustnessError, match=r"broken  +network: l2 no-worse by 5%  typically 0"):
        assert_robust(Halves(0.02), IMAGES[ones], LABELS[ones], **compared)


@pytest.mark.parametrize(
    ("options", "error", "part"),
    [
        ({"requirements": "l2.medain >= 1"}, UsageError, "column 4: unknown quantity of l2 'medain'"),
        ({"requirements": "l2 no-worse"}, UsageError, "give one: baseline='results/<run>'"),
        ({"requirements": "l2 no-worse", "baseline": "nowhere"}, StoreError, "nowhere is not a run"),
        ({"requirements": "l2.median >= 1", "undecided": "maybe"}, UsageError, "unknown value of undecided 'maybe'; known: fail, pass"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said_before_anything_is_attacked(
    options: dict[str, Any], error: type[Exception], part: str
) -> None:
    with pytest.raises(error, match=re.escape(part)):
        assert_robust(None, **options)


def test_nothing_required_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing is required"):
        assert_robust(None, requirements=[])
