"""Costs: measured from a stored run, kept per suite, and never above a verifier's limit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import fakes
import pytest
import synthetic

from bench import networks, store
from bench.engine import costs, pace
from bench.engine.request import Request, resolve
from bench.errors import StoreError
from bench.norms import Norm
from bench.specs import Kind, VerifierSpec


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> store.Run:
    path = tmp_path_factory.mktemp("costs") / "run"
    return store.read(synthetic.write(synthetic.run(samples=4, seed=1, name="run", networks=("MLP",)), path))


def test_costs_are_the_mean_seconds_of_the_records(
    stored: store.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "costs.json"
    file.write_text(json.dumps({"other": {"MLP": {"a": 1.0}}, "synthetic": {"MLP": {"old": 2.0}}}))
    monkeypatch.setattr(costs, "FILE", file)
    assert costs.main([str(stored.path)]) == 0
    kept = costs.load("synthetic", file)["MLP"]
    records = stored.records()
    for row in stored.manifest["rows"]:
        seconds = records.loc[records["attack"] == row["name"], "seconds"]
        assert kept[row["name"]] == pytest.approx(seconds.mean(), rel=0.01)
    assert kept["old"] == 2.0
    assert costs.load("other", file) == {"MLP": {"a": 1.0}}
    assert costs.load("unknown", file) == {}


def test_only_a_finished_run_has_costs(capsys: pytest.CaptureFixture[str], stored: store.Run, tmp_path: Path) -> None:
    assert costs.main([str(tmp_path)]) == 2
    assert "is not a run" in capsys.readouterr().err
    broken = replace(stored, manifest=stored.manifest | {"status": "interrupted"})
    with pytest.raises(StoreError, match="is interrupted; costs are taken from a finished run"):
        costs.measure(broken)


def test_an_unknown_network_costs_what_the_dearest_does_and_a_verifier_at_most_its_limit() -> None:
    row = fakes.row("noise")
    measured = {"MLP": {row.name: 0.5}, "CNN": {row.name: 2.0}}
    assert costs.expected(row, "MLP", measured) == 0.5
    assert costs.expected(row, "mine", measured) == 2.0
    assert costs.expected(row, "mine", {}) == costs.UNKNOWN
    exact = VerifierSpec(slug="exact", title="exact", norm=Norm.L2, kind=Kind.EXACT, seconds=5.0)
    assert costs.expected(exact, "MLP", {}) == 5.0
    assert costs.expected(exact, "MLP", {"MLP": {exact.name: 40.0}}) == 5.0


def test_a_network_of_ones_own_costs_what_its_speed_says(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "from torch import nn\nfrom bench import networks\n\n"
        "def like_cnn():\n    return networks.load('CNN')\n\n"
        "def like_mlp():\n    return networks.load('MLP')\n\n"
        "class Whole(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.net = networks.load('MLP')\n\n"
        "    def forward(self, images):\n        return self.net(images.round())\n\n"
        "def unreadable():\n    return Whole()\n"
    )
    job = resolve(
        Request(suite="minimal_norm", networks=tuple(f"{file}:{n}" for n in ("like_cnn", "like_mlp", "unreadable")))
    )
    measured = costs.load("minimal_norm")
    found = pace.with_own(measured, job.plan.rows, job.plan.networks, job.dataset.domain)
    for name, like in (("like_cnn", "CNN"), ("like_mlp", "MLP")):
        own, known = sum(found[name].values()), sum(found[like].values())
        assert known / 2 < own < known * 2
        assert found[name]["certify-lower-l2"] == pytest.approx(found[like]["certify-lower-l2"])
    assert found["unreadable"]["certify-lower-l2"] == 0, "it has no verifier"
    assert 0 < found["unreadable"]["foolbox-ddn-l2"] < found["CNN"]["foolbox-ddn-l2"]


def test_networks_that_were_measured_are_not_loaded_for_their_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(networks, "load")
    job = resolve(Request(suite="minimal_norm"))
    measured = costs.load("minimal_norm")
    assert pace.with_own(measured, job.plan.rows, job.plan.networks, job.dataset.domain) is measured
