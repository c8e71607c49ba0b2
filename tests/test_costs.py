"""Costs: measured from a stored run, kept per suite, and never above a verifier's limit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import fakes
import pytest
import synthetic

from bench import store
from bench.engine import costs
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
