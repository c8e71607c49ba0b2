"""Verdicts: healthy runs pass, the marks of masked gradients are found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import masking
import numpy as np
import pytest
import synthetic

import suites
from bench import metrics, run, verdict
from bench.findings import FORMAT_1_CHECKS, CheckName, Level
from bench.norms import Norm
from bench.specs import AttackSpec, Family, Kind, Row, Suite


def evidence_of(run: synthetic.SyntheticRun) -> metrics.Evidence:
    return metrics.evidence(run.records(), run.manifest)


def outcomes(run: synthetic.SyntheticRun, network: str = "MLP") -> dict[str, Level]:
    found = verdict.findings(evidence_of(run), run.manifest)
    return {finding.check.name: finding.level for finding in found if finding.network == network}


def changed(run: synthetic.SyntheticRun, accesses: tuple[str, ...], **columns: Any) -> synthetic.SyntheticRun:
    """The run with columns of the records of attacks with this access multiplied (numbers) or set (text)."""
    attacks = [row["name"] for row in run.manifest["rows"] if row.get("method", {}).get("access") in accesses]
    frame = run.records()
    chosen = frame["attack"].isin(attacks) & (frame["status"] != "misclassified")
    for name, value in columns.items():
        if isinstance(value, str):
            frame.loc[chosen, name] = value
        else:
            frame.loc[chosen, name] = frame.loc[chosen, name] * value
    return synthetic.SyntheticRun(run.path, run.manifest, frame, run.clean)


@pytest.fixture(scope="module")
def healthy() -> synthetic.SyntheticRun:
    return synthetic.run(samples=30, seed=3)


def test_healthy_networks_pass(healthy: synthetic.SyntheticRun) -> None:
    found = verdict.findings(evidence_of(healthy), healthy.manifest)
    for network in ("MLP", "MLP_d", "CNN", "CNN_d"):
        assert verdict.overall(found, network) is Level.PASS
    assert {finding.check for finding in found} == set(verdict.CHECKS)
    assert all(finding.message for finding in found)


def test_masked_gradients_are_found_by_what_guessing_does_better(healthy: synthetic.SyntheticRun) -> None:
    masked = changed(healthy, ("gradient",), **{norm.value: 4.0 for norm in Norm})
    assert outcomes(masked)["gradient_beats_decision"] is Level.FAIL


def test_gradient_attacks_that_find_nothing_are_found(healthy: synthetic.SyntheticRun) -> None:
    blind = changed(healthy, ("gradient",), status="not_found", **{norm.value: np.inf for norm in Norm})
    result = outcomes(blind)
    assert result["gradient_beats_decision"] is Level.FAIL
    assert result["always_found"] in (Level.FAIL, Level.WARN)


def test_no_attack_at_all_finding_anything_fails(healthy: synthetic.SyntheticRun) -> None:
    nothing = changed(healthy, ("gradient", "decision"), status="not_found", **{norm.value: np.inf for norm in Norm})
    result = outcomes(nothing)
    assert result["always_found"] is Level.FAIL
    assert result["gradient_beats_decision"] is Level.NONE, "where nobody found anything nobody won"


def test_distances_far_above_the_exact_ones_fail(healthy: synthetic.SyntheticRun) -> None:
    far = changed(healthy, ("gradient", "decision"), **{norm.value: 2.0 for norm in Norm})
    assert outcomes(far)["more_steps"] is Level.FAIL
    slightly = changed(healthy, ("gradient", "decision"), **{norm.value: 1.1 for norm in Norm})
    assert outcomes(slightly)["more_steps"] is Level.WARN


def test_an_attack_that_minimises_another_norm_says_nothing_of_more_steps() -> None:
    rows = (synthetic.attack(synthetic.REFERENCE, Norm.L2), synthetic.verifier(Norm.LINF))
    suite = Suite(name="other", description="", rows=rows, samples=20)
    run = synthetic.run(suite=suite, networks=("MLP",), samples=20, clean_errors=0, solved=1.0)
    assert outcomes(run)["more_steps"] is Level.NONE
    assert verdict.overall(verdict.findings(evidence_of(run), run.manifest), "MLP") is Level.PASS


def test_a_network_that_is_right_on_nothing_fails() -> None:
    run = synthetic.run(samples=6, networks=("MLP",), clean_errors=1)
    assert outcomes(run)["clean_accuracy"] is Level.FAIL


def test_the_names_of_checks_are_the_same_before_and_after() -> None:
    assert {check.name for check in (*verdict.CHECKS, *verdict.SOUND.values())} == set(CheckName)
    assert set(FORMAT_1_CHECKS.values()) <= set(CheckName)


def single_step_run(factor: float) -> synthetic.SyntheticRun:
    fast = AttackSpec(
        method=synthetic.method("fgm", "FGM", Family.REFERENCE),
        library="foolbox",
        norm=Norm.L2,
        target="fakes:Attack",
        params={"max_iter": 1},
        steps="max_iter",
    )
    rows = (synthetic.attack(synthetic.REFERENCE, Norm.L2), fast)
    suite = Suite(name="single", description="", rows=rows, samples=40)
    run = synthetic.run(suite=suite, networks=("MLP",), samples=40, clean_errors=0)
    frame = run.records()
    chosen = frame["attack"] == "foolbox-fgm-l2"
    frame.loc[chosen, "l2"] *= factor
    return synthetic.SyntheticRun(run.path, run.manifest, frame, run.clean)


def test_a_single_step_that_beats_many_fails() -> None:
    assert outcomes(single_step_run(2.0))["iterative_beats_single_step"] is Level.PASS
    assert outcomes(single_step_run(0.3))["iterative_beats_single_step"] is Level.FAIL


def preflighted(healthy: synthetic.SyntheticRun, preflight: Any) -> synthetic.SyntheticRun:
    content = dict(healthy.manifest)
    content["networks"] = [dict(network) | {"preflight": preflight} for network in content["networks"]]
    return synthetic.SyntheticRun(healthy.path, content, healthy.frame, healthy.clean)


def test_checks_made_before_the_attacks_are_shown(healthy: synthetic.SyntheticRun) -> None:
    checks = {
        "gradients": {"check": "gradients", "status": "warn", "value": 0.4, "message": "40 % vanish"},
        "repeats": {"check": "repeats", "status": "pass", "value": 0.0, "message": "equal to the bit"},
        "own check": {"status": "fail", "value": None, "message": "broken"},
    }
    run = preflighted(healthy, checks)
    result = outcomes(run)
    assert result["gradients"] is Level.WARN
    assert result["repeats"] is Level.PASS
    assert result["own check"] is Level.FAIL
    found = verdict.findings(evidence_of(run), run.manifest)
    assert verdict.overall(found, "MLP") is Level.FAIL
    assert any(finding.message == "40 % vanish" for finding in found)


def test_a_stored_result_that_makes_no_sense_never_passes(healthy: synthetic.SyntheticRun) -> None:
    result = outcomes(preflighted(healthy, {"gradients": "fine", "repeats": {"status": "splendid"}}))
    assert result["gradients"] is Level.WARN
    assert result["repeats"] is Level.WARN


MNIST = suites.load("minimal_norm").networks


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The summary of a real run on the bench's networks and on two whose gradients are hidden."""
    folder = tmp_path_factory.mktemp("results")
    masks = [f"{Path(masking.__file__)}:{name}" for name in ("quantised", "saturated")]
    command = ["--suite", "minimal_norm", "--samples", "4", "--attacks", "foolbox-ddn-l2", "foolbox-hopskipjump-l2"]
    command += ["--networks", *MNIST, *masks, "--workers", "0", "--out", str(folder), "--name", "masks"]
    assert run.main(command) == 0
    content: dict[str, Any] = json.loads((folder / "masks" / "summary.json").read_text())
    return content


@pytest.mark.slow
def test_a_run_catches_masked_gradients_and_lets_the_benchs_networks_pass(attacked: dict[str, Any]) -> None:
    outcomes = {judged["network"]: judged["outcome"] for judged in attacked["verdicts"]}
    assert outcomes == dict.fromkeys(MNIST, "pass") | {"quantised": "fail", "saturated": "fail"}
    for judged in attacked["verdicts"]:
        checks = {check["name"]: check["outcome"] for check in judged["checks"]}
        if judged["outcome"] == "pass":
            assert set(checks.values()) == {"pass"}, "every check is made"
        else:
            assert checks["gradient_beats_decision"] == "fail", "seen in the records"
            assert checks["gradients"] == checks["transfer"] == "fail", "seen before the attacks"


def test_a_randomised_network_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--suite", "smoke", "--samples", "3", "--networks", f"{Path(masking.__file__)}:randomised"]
    assert run.main([*command, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: network randomised: two forward passes of the same images differ")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_nothing_stored_is_not_assessed() -> None:
    content = synthetic.manifest(samples=1)
    evidence = metrics.evidence(synthetic.frame([]), content)
    found = verdict.findings(evidence, content)
    assert verdict.overall(found, "MLP") is Level.NONE


DESCENT_FAILS = {
    name: {"check": name, "status": "fail", "value": 1.0, "message": "the descent does not get on"}
    for name in verdict.DESCENT
}


def plan(*rows: Row, samples: int = 20) -> synthetic.SyntheticRun:
    """A run of these rows on one network, before which every check of the bench's own descent failed."""
    suite = Suite(name="descent", description="", rows=rows, samples=samples)
    run = synthetic.run(suite=suite, networks=("MLP",), samples=samples, clean_errors=0, failures=0, solved=1.0)
    return preflighted(run, DESCENT_FAILS)


def test_the_benchs_own_descent_warns_at_most_where_the_attacks_do_their_work() -> None:
    gradient, decision = synthetic.attack(synthetic.REFERENCE, Norm.L2), synthetic.attack(synthetic.HSJ, Norm.L2)
    for rows in (
        (gradient, decision),
        (gradient, synthetic.verifier(Norm.L2)),
        (gradient, decision, synthetic.verifier(Norm.L2)),
    ):
        run = plan(*rows)
        result = outcomes(run)
        assert {result[name] for name in verdict.DESCENT} == {Level.WARN}
        assert verdict.overall(verdict.findings(evidence_of(run), run.manifest), "MLP") is Level.WARN


def test_certified_bounds_near_the_distances_speak_for_the_attacks() -> None:
    run = plan(synthetic.attack(synthetic.REFERENCE, Norm.L2), synthetic.verifier(Norm.L2, Kind.LOWER))
    frame = run.records()
    distances = frame[frame["kind"] == "upper"].set_index("image")["l2"]
    for share, level in ((0.9, Level.WARN), (0.5, Level.FAIL)):
        frame.loc[frame["kind"] == "lower", "lower"] = share * frame["image"].map(distances)
        assert outcomes(synthetic.SyntheticRun(run.path, run.manifest, frame, run.clean))["loss_falls"] is level


def test_the_benchs_own_descent_fails_where_the_attacks_fail_or_nothing_speaks_for_them() -> None:
    gradient, decision = synthetic.attack(synthetic.REFERENCE, Norm.L2), synthetic.attack(synthetic.HSJ, Norm.L2)
    assert outcomes(plan(gradient))["loss_falls"] is Level.FAIL
    masked = changed(plan(gradient, decision), ("gradient",), **{norm.value: 4.0 for norm in Norm})
    assert {outcomes(masked)[name] for name in verdict.DESCENT} == {Level.FAIL}


def test_a_decision_based_attack_on_a_part_of_the_images_is_compared_on_these() -> None:
    decision = synthetic.attack(synthetic.HSJ, Norm.L2, cap=8)
    suite = Suite(
        name="part", description="", rows=(synthetic.attack(synthetic.REFERENCE, Norm.L2), decision), samples=40
    )
    run = synthetic.run(suite=suite, networks=("MLP",), samples=40, clean_errors=0, failures=0)
    frame = run.records()
    # Masked on exactly the images that the decision-based attack was run on.
    chosen = (frame["attack"] == "foolbox-reference-l2") & (frame["image"] < 8)
    frame.loc[chosen, "l2"] *= 4
    masked = synthetic.SyntheticRun(run.path, run.manifest, frame, run.clean)
    (result,) = [
        one
        for one in verdict.findings(evidence_of(masked), run.manifest)
        if one.check.name == "gradient_beats_decision"
    ]
    assert result.level is Level.FAIL
    assert "better on 8 of 8 images that both ran on, of 40 attacked" in result.message
