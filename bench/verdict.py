"""A verdict per network: does its robustness look real, or does something hide it from the attacks?

Sources: Carlini et al., On Evaluating Adversarial Robustness (arXiv:1902.06705); Pintor et al., Indicators of Attack
Failure (arXiv:2106.09947); Tramèr et al., On Adaptive Attacks (arXiv:2002.08347). Some checks read the records of the
run; others need the network and were made before the first attack: their results lie in the manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd

from bench.metrics import Evidence, wilson
from bench.metrics.agreement import relative
from bench.metrics.tables import median_ratio
from bench.norms import Norm
from bench.records import Status


class Outcome(StrEnum):
    """How a check ended; the order is from bad to good."""

    FAIL = "fail"
    WARN = "warn"
    PASS = "pass"  # noqa: S105 - an outcome, no password
    NONE = "not assessed"


@dataclass(frozen=True, slots=True)
class Check:
    """What is checked and why it matters.

    Attributes:
        name: stable, for programs; a check made before the attacks has this key in the manifest.
        title: what a healthy network does.
        why: what it means when it does not.
        source: where it is from.
        judge: reads the evidence of one network; None for checks whose result lies in the manifest.
    """

    name: str
    title: str
    why: str
    source: str
    judge: Callable[[Evidence, str], tuple[Outcome, str]] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check on one network, with the numbers it rests on."""

    network: str
    check: Check
    outcome: Outcome
    message: str


BETTER = 0.05
"""A distance counts as smaller when it is so by more than 5 %: less is noise of step sizes."""


def gradient_beats_decision(evidence: Evidence, network: str) -> tuple[Outcome, str]:
    """Attacks that see gradients find smaller distances than attacks that see only decisions.

    In each norm, over images that both kinds were run on: the median of (best gradient distance / best decision
    distance), and the share of images on which the decision-based ones are better by more than 5 %. It fails where
    the ratio is above 1.1 or the lower end of the share's 95 % interval above one half; it warns above 1.02 or a
    quarter.
    """
    access = evidence.rows.set_index("attack")["access"]
    parts, outcome = [], Outcome.NONE
    records = _attacked(evidence, network)
    for norm in evidence.norms:
        inside = records[records["norm"] == norm.value]
        kinds = inside["attack"].astype(str).map(access)
        gradient = inside[kinds == "gradient"].groupby("image")["distance"].min()
        decision = inside[kinds == "decision"].groupby("image")["distance"].min()
        both = pd.concat([gradient, decision], axis=1, join="inner").to_numpy()
        # Where neither found anything there is nothing to compare.
        both = both[np.isfinite(both).any(axis=1)]
        if not len(both):
            continue
        ratios = relative(both[:, 0], both[:, 1])
        middle = median_ratio(ratios)
        worse = int((ratios > 1 + BETTER).sum())
        low = float(wilson(worse, len(ratios))[0])
        now = _grade(middle > 1.1 or low > 0.5, middle > 1.02 or low > 0.25)
        outcome = _worst(outcome, now)
        parts.append(
            f"{norm.label}: median ratio {middle:.3g}, decision-based attacks better on {worse} of {len(ratios)} images"
        )
    return outcome, "; ".join(parts) or "no image with a gradient-based and a decision-based attack in one norm"


def always_found(evidence: Evidence, network: str) -> tuple[Outcome, str]:
    """Without a limit on the distance some attack succeeds on every image.

    Fails when no attack of the run found anything on an image that was attacked without failures, warns when single
    gradient-based attacks found nothing on more than a tenth of the images.
    """
    records = _attacked(evidence, network)
    if not len(records):
        return Outcome.NONE, "no image was attacked"
    smallest = records.groupby("image")["linf"].min()
    missing = int(np.isinf(smallest).sum())
    if missing:
        return Outcome.FAIL, f"nothing was found on {missing} of {len(smallest)} images by any attack"
    gradient = evidence.rows.loc[(evidence.rows["access"] == "gradient"), "attack"]
    own = records[records["attack"].isin(gradient)]
    rates = (own["status"] == Status.FOUND.value).groupby(own["attack"].astype(str), sort=False).mean()
    weak = rates[rates < 0.9]
    message = f"an adversarial example is known for all {len(smallest)} attacked images"
    if len(weak):
        labels = evidence.rows.set_index("attack")["label"]
        named = ", ".join(f"{labels[str(name)]} {rate:.0%}" for name, rate in weak.items())
        return Outcome.WARN, f"{message}, but single gradient-based attacks often find none: {named}"
    return Outcome.PASS, message


def more_steps(evidence: Evidence, network: str) -> tuple[Outcome, str]:
    """Best-of distances are where more search would not lower them.

    Where exact distances are known, the best attack is compared with them; the median excess must stay below 5 %
    (warning) and 25 % (failure). Before the attacks, a plain descent was tried with twice as many steps.
    """
    best = evidence.best[(evidence.best["network"] == network) & ~evidence.best["misclassified"]]
    attacks = _attacked(evidence, network)
    parts, outcome = [], Outcome.NONE
    for norm in evidence.norms:
        known = best[(best["norm"] == norm.value) & best["exact"]].set_index("image")["distance"]
        found = attacks.groupby("image")[norm.value].min()
        both = pd.concat([known, found], axis=1, join="inner").to_numpy()
        if not len(both):
            continue
        middle = median_ratio(both[:, 1] / both[:, 0])
        outcome = _worst(outcome, _grade(middle > 1.25, middle > 1.05))
        parts.append(f"{norm.label}: {middle:.4g} times the exact distance, median of {len(both)} images")
    return outcome, "; ".join(parts) or "no exact distance is known"


def single_step(evidence: Evidence, network: str) -> tuple[Outcome, str]:
    """Iterative attacks beat single-step ones of the same norm, where the plan has a row with one step.

    It fails where the lower end of the 95 % interval of the share of images on which the single step is better by more
    than 5 % is above one half, and warns above a tenth.
    """
    rows = evidence.rows
    single = rows.loc[rows["steps"] == 1, ["attack", "norm"]]
    records = _attacked(evidence, network)
    parts, outcome = [], Outcome.NONE
    for attack, norm in single.itertuples(index=False):
        inside = records[records["norm"] == norm]
        one = inside[inside["attack"] == attack].set_index("image")["distance"]
        many = rows.loc[(rows["norm"] == norm) & (rows["access"] == "gradient") & (rows["steps"] != 1), "attack"]
        rest = inside[inside["attack"].isin(many)].groupby("image")["distance"].min()
        both = pd.concat([rest, one], axis=1, join="inner").to_numpy()
        both = both[np.isfinite(both).any(axis=1)]
        if not len(both):
            continue
        ratios = relative(both[:, 0], both[:, 1])
        worse = int((ratios > 1 + BETTER).sum())
        low = float(wilson(worse, len(ratios))[0])
        outcome = _worst(outcome, _grade(low > 0.5, low > 0.1))
        parts.append(f"{Norm(norm).label}: the single step is better on {worse} of {len(ratios)} images")
    return outcome, "; ".join(parts) or "no single-step attack in the plan"


CHECKS: tuple[Check, ...] = (
    Check(
        "gradient_beats_decision",
        "Attacks that see gradients beat attacks that see only decisions",
        "Gradients are the better guide. Where guessing does better, the gradients are masked, and every gradient-based "
        "distance of this network is too large.",
        "arXiv:1902.06705",
        gradient_beats_decision,
    ),
    Check(
        "always_found",
        "Without a limit, every image has an adversarial example",
        "Any image can be changed into another. Where no attack manages that, the attacks are broken or blocked.",
        "arXiv:1902.06705",
        always_found,
    ),
    Check(
        "more_steps",
        "The best distances cannot be lowered much further",
        "Distances that still fall with more search are not minimal. Certified exact distances settle it where they are known; "
        "elsewhere it is tried with more steps.",
        "arXiv:1902.06705",
        more_steps,
    ),
    Check(
        "iterative_beats_single_step",
        "Many steps beat a single one",
        "A single step that wins means that the loss surface is broken up, so that following it leads astray.",
        "arXiv:1902.06705",
        single_step,
    ),
    Check(
        "gradients",
        "Gradients do not vanish",
        "Where the gradient of the loss is zero, gradient-based attacks stand still and report nothing.",
        "arXiv:2106.09947",
    ),
    Check(
        "repeats",
        "Two forward passes give the same logits",
        "Randomness in the network makes a candidate adversarial in one pass and not in the next; distances then mean little.",
        "arXiv:2002.08347",
    ),
    Check(
        "batches",
        "An image's logits do not depend on its batch",
        "An attack on several images at once would otherwise attack another network than the one that is judged.",
        "",
    ),
    Check(
        "logits",
        "The outputs are logits",
        "Probabilities saturate: their gradients vanish where the network is sure, and gradient-based attacks look weak.",
        "arXiv:1902.06705",
    ),
    Check(
        "loss_falls",
        "The loss gets better along an attack",
        "An attack whose objective does not improve is not optimising: its result says nothing about the network.",
        "arXiv:2106.09947",
    ),
    Check(
        "transfer",
        "Examples from another network do not beat attacks on this one",
        "An example made without looking at this network should be worse than one made with it. Where it is not, the attacks "
        "on this network fail.",
        "arXiv:1902.06705",
    ),
)
"""All checks that a verdict should rest on, in the order of the report."""

SOUND: dict[str, Check] = {
    check.name: check
    for check in (
        Check("runs", "It maps images to logits", "Anything else cannot be attacked as a classifier.", ""),
        Check("finite logits", "Every logit is a finite number", "NaN and infinity cannot be compared.", ""),
        Check(
            "depends on the image",
            "Its answer depends on the image",
            "A network that says the same of every image has nothing to attack.",
            "",
        ),
        Check(
            "float64",
            "It decides alike in float32 and float64",
            "Attacks work in float32, candidates are judged in float64.",
            "",
        ),
        Check(
            "clean accuracy",
            "It is right on clean images",
            "A misclassified image counts at distance 0; low accuracy often means another input range.",
            "",
        ),
    )
}
"""What else is checked before the attacks: shown where it was made."""


def findings(evidence: Evidence, manifest: Mapping[str, Any]) -> list[Finding]:
    """Every check on every network.

    Args:
        evidence: of the run.
        manifest: of the run; ``networks[i]["preflight"]`` holds ``{check: {"status", "value", "message"}}`` of the checks
            that were made on the network itself. Such a result stands beside that from the records, and the worse
            of the two counts; checks unknown here are shown as well.

    Returns:
        Findings by network, then check.
    """
    made = []
    for network in manifest["networks"]:
        name = str(network["name"])
        preflight: Mapping[str, Any] = network.get("preflight") or {}
        for check in CHECKS:
            outcome, message = check.judge(evidence, name) if check.judge else (Outcome.NONE, "")
            if check.name in preflight:
                other, said = _reported(preflight[check.name])
                message = "; ".join(
                    part for part in ([message] if outcome is not Outcome.NONE else []) + [said] if part
                )
                outcome = _worst(outcome, other)
            made.append(Finding(name, check, outcome, message or "not part of this run"))
        known = {check.name for check in CHECKS}
        for key, result in preflight.items():
            if key not in known:
                check = SOUND.get(str(key)) or Check(str(key), str(key), "", "")
                made.append(Finding(name, check, *_reported(result)))
    return made


def overall(found: Sequence[Finding], network: str) -> Outcome:
    """The worst outcome of a network's checks; ``not assessed`` when none could be made."""
    result = Outcome.NONE
    for finding in found:
        if finding.network == network:
            result = _worst(result, finding.outcome)
    return result


def _reported(result: Any) -> tuple[Outcome, str]:
    """A stored result; what cannot be understood is a warning, never a pass."""
    if not isinstance(result, Mapping):
        return Outcome.WARN, f"stored result not understood: {result!r}"
    try:
        outcome = Outcome(str(result.get("status")))
    except ValueError:
        outcome = Outcome.WARN
    return outcome, str(result.get("message") or result.get("value") or outcome)


def _attacked(evidence: Evidence, network: str) -> pd.DataFrame:
    records = evidence.attacks
    chosen = (records["network"] == network) & (records["status"] != Status.MISCLASSIFIED.value)
    return records[chosen]


def _grade(fails: bool, warns: bool) -> Outcome:
    return Outcome.FAIL if fails else Outcome.WARN if warns else Outcome.PASS


def _worst(one: Outcome, other: Outcome) -> Outcome:
    order = [Outcome.FAIL, Outcome.WARN, Outcome.PASS, Outcome.NONE]
    return min(one, other, key=order.index)
