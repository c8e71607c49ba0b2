"""What is decided on a run: each quantity by its own rule, on runs whose distances are known."""

from __future__ import annotations

import re

import gates
import numpy as np
import pytest
import synthetic

from bench import metrics
from bench.check import runs
from bench.check.decide import decide
from bench.check.decision import Outcome
from bench.check.grammar import parse, parse_all
from bench.errors import StoreError, UsageError

INF = float("inf")
HELD, BROKEN, OPEN = Outcome.HELD, Outcome.BROKEN, Outcome.UNDECIDED
SPREAD = np.exp(np.random.default_rng(0).normal(0, 0.4, 100))
NEAR, DEEP = gates.NEAR.name, gates.DEEP.name


@pytest.fixture(scope="module")
def healthy() -> synthetic.SyntheticRun:
    return synthetic.run(samples=30, seed=5, domain=synthetic.FEATURES, networks=("CNN", "MLP"))


def test_a_median_is_decided_by_its_interval() -> None:
    low, high = metrics.median_interval(SPREAD)
    assert low < high
    run = gates.made({"A": SPREAD})
    for value, above in ((low * 0.99, HELD), (high * 1.01, BROKEN), ((low + high) / 2, OPEN)):
        below = {HELD: BROKEN, BROKEN: HELD, OPEN: OPEN}[above]
        assert gates.decided(run, f"l2.median >= {value!r}").outcome is above
        assert gates.decided(run, f"l2.median > {value!r}").outcome is above
        assert gates.decided(run, f"l2.median <= {value!r}").outcome is below
        assert gates.decided(run, f"l2.median < {value!r}").outcome is below
    one = gates.decided(run, f"l2.median >= {low!r}")
    assert one.outcome is HELD
    assert one.measured == f"{metrics.median(SPREAD):.4g}, 95 % interval {low:.4g} to {high:.4g}, 100 images"


def test_five_images_decide_no_median() -> None:
    assert gates.decided(gates.made({"A": [5.0] * 5}), "l2.median >= 1").outcome is OPEN
    one = gates.decided(gates.made({"A": [5.0] * 5}), "l2.median <= 1")
    assert one.outcome is OPEN
    assert one.measured == "5, too few images for an interval (5)"
    assert one.needed.startswith("about 6 images")
    assert gates.decided(gates.made({"A": [5.0] * 6}), "l2.median >= 1").outcome is HELD


@pytest.mark.parametrize(("sign", "needed"), [(">=", 150), ("<", 150), (">", 600), ("<=", 600)])
def test_what_lies_at_the_limit_itself_counts_as_the_sign_says(sign: str, needed: int) -> None:
    run = gates.made({"A": [0.5] * 42 + [1.0] * 4 + [2.0] * 54})
    one = gates.decided(run, f"l2.median {sign} 1")
    assert (one.outcome, one.needed) == (OPEN, f"about {needed} images would decide it, if the figures stay")


def test_what_was_not_found_is_far_and_what_is_misclassified_is_at_0() -> None:
    assert gates.decided(gates.made({"A": [INF] * 60 + [1.0] * 10}), "l2.median >= 1e9").outcome is HELD
    assert gates.decided(gates.made({"A": [0.0] * 60 + [1.0] * 10}), "l2.median > 0").outcome is BROKEN
    mixed = gates.decided(gates.made({"A": [INF] * 10 + [1.0] * 10}), "l2.median >= 2")
    assert mixed.outcome is OPEN
    assert mixed.needed == "no number of images would decide it, if the figures stay"


@pytest.mark.parametrize(("robust", "outcome"), [(60, HELD), (59, OPEN), (50, OPEN), (41, OPEN), (40, BROKEN)])
def test_robust_accuracy_is_decided_by_wilsons_interval(robust: int, outcome: Outcome) -> None:
    low, high = metrics.wilson(robust, 100)
    assert bool(low >= 0.5) == (outcome is HELD)
    assert bool(high < 0.5) == (outcome is BROKEN)
    one = gates.decided(gates.made({"A": [2.0] * robust + [1.0] * (100 - robust)}), "l2.robust_accuracy[1] >= 0.5")
    assert one.outcome is outcome
    assert one.measured == f"{robust / 100:.4g}, 95 % interval {float(low):.4g} to {float(high):.4g}, 100 images"


@pytest.mark.parametrize("eps", [0.0, 0.0123, 0.7, 1.0, 99.0])
def test_robust_accuracy_is_known_at_any_eps(eps: float) -> None:
    run = gates.made({"A": SPREAD})
    expected = float((eps < SPREAD).mean())
    assert gates.decided(run, f"l2.robust_accuracy[{eps}] >= 0.5").measured.startswith(f"{expected:.4g}, ")


def test_a_fraction_that_is_open_says_how_many_images_it_takes() -> None:
    run = gates.made({"A": [2.0] * 53 + [1.0] * 47})
    one = gates.decided(run, "l2.robust_accuracy[1] >= 0.5")
    assert one.needed == "about 1,100 images would decide it, if the figures stay"
    few = gates.made({"A": [2.0] * 53 + [1.0] * 47}, data=run.manifest["data"] | {"size": 500})
    assert gates.decided(few, "l2.robust_accuracy[1] >= 0.5").needed.endswith("if the figures stay; the split has 500")
    sure = gates.decided(gates.made({"A": [2.0] * 100}), "l2.robust_accuracy[1] >= 1")
    assert (sure.outcome, sure.needed) == (OPEN, "no number of images would decide it, if the figures stay")


def test_certified_accuracy_is_that_of_the_bounds() -> None:
    run = gates.bounded([0.2] * 60 + [0.05] * 40)
    assert gates.decided(run, "linf.certified[0.1] >= 0.5").outcome is HELD
    assert gates.decided(run, "linf.certified[0.1] >= 0.75").outcome is BROKEN
    assert gates.decided(run, "linf.certified[0.1] >= 0.6").outcome is OPEN
    assert gates.decided(run, "linf.certified[0.2] >= 0.1").measured.startswith("0, ")


def test_a_certified_fraction_needs_no_attack() -> None:
    run = gates.bounded([0.2] * 30, attacked=False)
    assert gates.decided(run, "linf.certified[0.1] >= 0.5").outcome is HELD
    with pytest.raises(UsageError, match="no attack of bounds that minimises linf was run on network A"):
        gates.decided(run, "linf.robust_accuracy[0.1] >= 0.5")


def test_what_no_verifier_was_run_on_is_not_certified_and_not_counted() -> None:
    run = gates.bounded([0.2] * 10 + [0.0] * 30, ["not_found"] * 10 + ["unsupported"] * 30)
    assert gates.decided(run, "linf.certified[0.1] >= 0.5").measured == "1, 95 % interval 0.7225 to 1, 10 images"
    none = gates.bounded([0.0] * 8, ["unsupported"] * 8)
    with pytest.raises(UsageError, match="has no certified bounds of network A in linf; run a suite with a verifier"):
        gates.decided(none, "linf.certified[0.1] >= 0.5")


@pytest.mark.parametrize(
    ("accuracy", "images", "outcome", "part"),
    [
        (0.981, 10_000, HELD, "9,810 of all 10,000 images of the split"),
        (0.979, 10_000, BROKEN, "9,790 of all 10,000 images of the split"),
        (0.985, 1_000, OPEN, "95 % interval 0.9754 to 0.9909, 1,000 images"),
        (0.95, 1_000, BROKEN, "95 % interval"),
        (1.0, 1_000, HELD, "95 % interval"),
        (None, None, OPEN, "1, 95 % interval 0.9287 to 1, 50 images"),
    ],
)
def test_clean_accuracy_is_counted_on_a_whole_split_and_else_estimated(
    accuracy: float | None, images: int | None, outcome: Outcome, part: str
) -> None:
    run = gates.made({"A": [1.0] * 50})
    run.manifest["networks"][0] |= {"accuracy": accuracy, "accuracy_images": images}
    one = gates.decided(run, "clean_accuracy >= .98")
    assert one.outcome is outcome
    assert part in one.measured


def test_a_found_rate_is_counted_over_the_images_that_were_attacked() -> None:
    run = gates.made({"A": [0.0, 0.0, 1.0, 1.0, INF, 1.0]})
    assert gates.decided(run, f"attack.{NEAR}.found_rate = 1").outcome is BROKEN
    assert gates.decided(run, f"attack.{NEAR}.found_rate >= 0.75").outcome is HELD
    assert gates.decided(run, f"attack.{NEAR}.found_rate = .75").outcome is HELD
    assert gates.decided(run, f"attack.{NEAR}.found_rate = .5").outcome is BROKEN
    assert gates.decided(run, f"attack.{NEAR}.found_rate > .75").outcome is BROKEN
    assert gates.decided(run, f"attack.{NEAR}.found_rate < .75").outcome is BROKEN
    assert (
        gates.decided(run, f"attack.{NEAR}.found_rate <= .75").measured == "0.75, 3 of all 4 images that were attacked"
    )
    nothing = gates.decided(gates.made({"A": [0.0] * 8}), f"attack.{NEAR}.found_rate = 1")
    assert (nothing.outcome, nothing.measured) == (OPEN, "no image was attacked")


@pytest.mark.parametrize(
    ("level", "outcomes"),
    [
        ("pass", (HELD, HELD, BROKEN)),
        ("warn", (BROKEN, HELD, HELD)),
        ("fail", (BROKEN, BROKEN, BROKEN)),
    ],
)
def test_a_verdict(level: str, outcomes: tuple[Outcome, ...]) -> None:
    run = gates.made({"A": [1.0] * 8})
    run.manifest["networks"][0]["preflight"] = {"logits": {"status": level, "message": "as it is"}}
    texts = ("verdict = pass", "verdict >= warn", "verdict = warn")
    assert tuple(gates.decided(run, text).outcome for text in texts) == outcomes
    assert gates.decided(run, "verdict = pass").measured == level


def test_a_verdict_that_was_not_assessed_is_open() -> None:
    run = gates.made({"A": [1.0]})
    empty = synthetic.SyntheticRun(run.path, run.manifest | {"planned": 0}, run.frame.iloc[:0], run.clean)
    one = gates.decided(empty, "verdict >= warn")
    assert (one.outcome, one.measured) == (OPEN, "not assessed, the run has nothing to judge by")


def test_a_requirement_holds_for_every_network_or_for_one() -> None:
    run = gates.made({"strong": SPREAD * 4, "weak": SPREAD / 4})
    every = gates.checked(run, "l2.median >= 1", "strong: l2.median >= 2")
    assert [(one.text, one.outcome) for one in every.decisions] == [
        ("strong: l2.median >= 1", HELD),
        ("weak: l2.median >= 1", BROKEN),
        ("strong: l2.median >= 2", HELD),
    ]
    assert [every.count(outcome) for outcome in Outcome] == [2, 1, 0]


def test_what_is_asked_twice_of_one_network_is_refused() -> None:
    with pytest.raises(
        UsageError, match=re.escape("'l2.median >= 1' and 'A: l2.median >= 1' ask the same of network A")
    ):
        gates.checked(gates.made({"A": SPREAD, "B": SPREAD}), "l2.median >= 1", "A: l2.median >= 1")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("CN: l2.median >= 1", "unknown network 'CN'; known: CNN, MLP; did you mean CNN?"),
        ("l1.median >= 1", "has no l1; it has l0, l2, linf; run with --norms l1"),
        ("l1 no-worse", "has no l1"),
        ("l1.certified[1] >= 0.5", "has no l1"),
        ("attack.foolbox-refernce-l2.found_rate = 1", "did you mean foolbox-reference-l2?"),
        ("attack.certify-exact-l2.found_rate = 1", "unknown attack 'certify-exact-l2'"),
        ("l2 no-worse", "compares with a baseline; give one: --baseline results/<run>"),
    ],
)
def test_what_the_run_lacks_is_named(healthy: synthetic.SyntheticRun, text: str, part: str) -> None:
    with pytest.raises(UsageError, match=re.escape(part)) as caught:
        gates.checked(healthy, text)
    assert str(parse(text)) in str(caught.value)


def test_a_norm_that_attacks_of_a_network_left_to_others_is_not_decided() -> None:
    run = gates.made({"A": {NEAR: SPREAD, gates.LARGEST.name: SPREAD}, "B": {NEAR: SPREAD}})
    assert gates.decided(gates.made({"B": SPREAD}), "l2.median >= 0.1").outcome is HELD
    with pytest.raises(
        UsageError, match="no attack of run that minimises linf was run on network B; name the networks"
    ):
        gates.checked(run, "linf.median >= 0.1")
    assert gates.checked(run, "A: linf.median >= 0.1").count(HELD) == 1


def test_an_image_that_every_attack_failed_on_is_not_robust() -> None:
    statuses = {("A", NEAR): ["error"] * 50 + ["found"] * 50, ("A", DEEP): ["timeout"] * 40 + ["found"] * 60}
    run = gates.made({"A": {NEAR: [1.0] * 100, DEEP: [2.0] * 100}}, statuses=statuses)
    every = gates.checked(run, "l2.robust_accuracy[1.5] >= 0.5", "l2.median >= 1.5")
    assert every.decisions[0].measured.startswith("0.1667, 95 % interval")
    assert every.decisions[0].measured.endswith(", 60 images")
    assert every.count(BROKEN) == 2
    assert "40 images of network A are left out in l2, as every attack that was run on them failed" in every.notes


def test_a_network_that_hides_from_attacks_is_held_with_a_caution() -> None:
    every = gates.checked(gates.made({"A": [INF] * 30, "B": [1.0] * 30}), "l2.median >= 0.5", "clean_accuracy >= .9")
    assert every.count(HELD) == 4
    (note,) = every.notes
    assert note.startswith("network A has the verdict 'fail': its distances are probably too large")
    assert not gates.checked(gates.made({"A": [INF] * 30}), "clean_accuracy >= .9").notes


def test_ten_requirements_on_a_run_like_a_real_one(healthy: synthetic.SyntheticRun) -> None:
    texts = [f"{norm}.{what}" for norm in ("l0", "l2", "linf") for what in ("median >= 1e-3", "certified[1e-3] >= 0.1")]
    texts += ["verdict >= warn", "clean_accuracy >= 0.9", "attack.foolbox-reference-l2.found_rate = 1"]
    texts += ["CNN: l2.robust_accuracy[1e-3] >= 0.5"]
    every = decide(parse_all(texts), runs.opened(healthy))
    assert len(every.decisions) == 9 * 2 + 1
    assert every.count(HELD) == len(every.decisions)


@pytest.mark.parametrize("status", ["running", "interrupted"])
def test_nothing_is_decided_on_part_of_a_run(status: str) -> None:
    with pytest.raises(StoreError, match=f"is not finished, its status is '{status}'.*--resume run"):
        gates.decided(gates.made({"A": SPREAD}, status=status), "l2.median >= 1")


def test_nothing_is_decided_on_a_run_that_breaks_a_rule() -> None:
    with pytest.raises(StoreError, match=r"Every planned record is stored\): 100 of 101"):
        gates.decided(gates.made({"A": SPREAD}, planned=101), "l2.median >= 1")
    run = gates.made({"A": SPREAD})
    run.frame.loc[3, "l2"] = INF
    with pytest.raises(StoreError, match="1 records contradict their status"):
        gates.decided(run, "l2.median >= 1")
