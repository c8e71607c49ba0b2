"""A verdict per network: does its robustness look real, or does something hide it from the attacks?

Sources: Carlini et al., On Evaluating Adversarial Robustness (arXiv:1902.06705); Pintor et al., Indicators of Attack
Failure (arXiv:2106.09947); Tramèr et al., On Adaptive Attacks (arXiv:2002.08347). Some checks read the records of the
run; others need the network and were made before the first attack: their results lie in the manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.findings import BETTER, FAR, CheckName, Level, grade, worst
from bench.metrics import Evidence, wilson
from bench.metrics.agreement import relative
from bench.metrics.tables import median_ratio
from bench.norms import Norm
from bench.records import Status
from bench.specs import Access


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
    source: str = ""
    judge: Callable[[Evidence, str], tuple[Level, str]] | None = None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check on one network, before and after the attacks together, with the numbers it rests on."""

    network: str
    check: Check
    level: Level
    message: str


def gradient_beats_decision(evidence: Evidence, network: str) -> tuple[Level, str]:
    """Attacks that see gradients find smaller distances than attacks that see only decisions.

    In each norm, over images that both kinds were run on: the median of (best gradient distance / best decision
    distance), and the fraction of images on which the decision-based ones are better by more than 5 %. It fails where
    the ratio is above 1.1 or the lower end of the fraction's 95 % interval above one half; it warns above 1.02 or a
    quarter. Images that only one kind was run on are left out, and the message says of how many the rest are.
    """
    access = evidence.rows.set_index("attack")["access"]
    parts, level = [], Level.NONE
    records = _attacked(evidence, network)
    for norm in evidence.norms:
        inside = records[records["norm"] == norm.value]
        kinds = inside["attack"].astype(str).map(access)
        gradient = inside[kinds == Access.GRADIENT.value].groupby("image")["distance"].min()
        decision = inside[kinds == Access.DECISION.value].groupby("image")["distance"].min()
        both = pd.concat([gradient, decision], axis=1, join="inner").to_numpy()
        # Where neither found anything there is nothing to compare.
        both = both[np.isfinite(both).any(axis=1)]
        if not len(both):
            continue
        ratios = relative(both[:, 0], both[:, 1])
        middle = median_ratio(ratios)
        worse = int((ratios > 1 + BETTER).sum())
        low = float(wilson(worse, len(ratios))[0])
        now = grade(middle > 1.1 or low > 0.5, middle > 1.02 or low > 0.25)
        level = worst((level, now))
        attacked = inside["image"].nunique()
        part = f" that both ran on, of {attacked} attacked" if len(ratios) < attacked else ""
        parts.append(
            f"{norm.label}: median ratio {middle:.3g}, decision-based attacks better on {worse} of {len(ratios)} images{part}"
        )
    return level, "; ".join(parts) or "no image with a gradient-based and a decision-based attack in one norm"


def always_found(evidence: Evidence, network: str) -> tuple[Level, str]:
    """Without a limit on the distance some attack of the run succeeds on every image.

    Fails when no attack of the run found anything on an image that was attacked without failures, warns when single
    gradient-based attacks found nothing on more than a tenth of the images.
    """
    records = _attacked(evidence, network)
    if not len(records):
        return Level.NONE, "no image was attacked"
    found = (records["status"] == Status.FOUND.value).groupby(records["image"]).any()
    missing = int((~found).sum())
    if missing:
        return Level.FAIL, f"nothing was found on {missing} of {len(found)} images by any attack"
    gradient = evidence.rows.loc[(evidence.rows["access"] == Access.GRADIENT.value), "attack"]
    own = records[records["attack"].isin(gradient)]
    rates = (own["status"] == Status.FOUND.value).groupby(own["attack"].astype(str), sort=False).mean()
    weak = rates[rates < 0.9]
    message = f"an adversarial example is known for all {len(found)} attacked images"
    if len(weak):
        labels = evidence.rows.set_index("attack")["label"]
        named = ", ".join(f"{labels[str(name)]} {rate:.0%}" for name, rate in weak.items())
        return Level.WARN, f"{message}, but single gradient-based attacks often find none: {named}"
    return Level.PASS, message


def more_steps(evidence: Evidence, network: str) -> tuple[Level, str]:
    """Best-of distances are where more search would not lower them.

    Where exact distances are known, the best of the attacks that minimise the norm is compared with them; the median
    excess must stay below 5 % (warning) and 25 % (failure). Where no attack of the run minimises the norm nothing is
    said: the smallest Linf of an L2 attack is no minimal Linf. Before the attacks, a plain descent was tried with twice
    as many steps.
    """
    best = evidence.best[(evidence.best["network"] == network) & ~evidence.best["misclassified"]]
    attacks = _attacked(evidence, network)
    parts, level = [], Level.NONE
    for norm in evidence.norms:
        known = best[(best["norm"] == norm.value) & best["exact"]].set_index("image")["distance"]
        found = attacks[attacks["norm"] == norm.value].groupby("image")["distance"].min()
        both = pd.concat([known, found], axis=1, join="inner").to_numpy()
        if not len(both):
            continue
        middle = median_ratio(both[:, 1] / both[:, 0])
        level = worst((level, grade(middle > 1 + FAR, middle > 1 + BETTER)))
        parts.append(f"{norm.label}: {middle:.4g} times the exact distance, median of {len(both)} images")
    return level, "; ".join(parts) or "no exact distance is known in the norm of an attack"


def clean_accuracy(evidence: Evidence, network: str) -> tuple[Level, str]:
    """The network is right on some image of the run. Before the attacks, its accuracy was looked at more closely."""
    records = evidence.best[evidence.best["network"] == network].drop_duplicates("image")
    if not len(records):
        return Level.NONE, "no image was looked at"
    right = int((~records["misclassified"].astype(bool)).sum())
    if not right:
        return Level.FAIL, f"it misclassifies all {len(records)} images of the run: there is nothing to attack"
    return Level.PASS, f"it is right on {right} of {len(records)} images of the run"


def single_step(evidence: Evidence, network: str) -> tuple[Level, str]:
    """Iterative attacks beat single-step ones of the same norm, where the plan has a row with one step.

    It fails where the lower end of the 95 % interval of the fraction of images on which the single step is better by more
    than 5 % is above one half, and warns above a tenth.
    """
    rows = evidence.rows
    single = rows.loc[rows["steps"] == 1, ["attack", "norm"]]
    records = _attacked(evidence, network)
    parts, level = [], Level.NONE
    for attack, norm in single.itertuples(index=False):
        inside = records[records["norm"] == norm]
        one = inside[inside["attack"] == attack].set_index("image")["distance"]
        many = rows.loc[
            (rows["norm"] == norm) & (rows["access"] == Access.GRADIENT.value) & (rows["steps"] != 1), "attack"
        ]
        rest = inside[inside["attack"].isin(many)].groupby("image")["distance"].min()
        both = pd.concat([rest, one], axis=1, join="inner").to_numpy()
        both = both[np.isfinite(both).any(axis=1)]
        if not len(both):
            continue
        ratios = relative(both[:, 0], both[:, 1])
        worse = int((ratios > 1 + BETTER).sum())
        low = float(wilson(worse, len(ratios))[0])
        level = worst((level, grade(low > 0.5, low > 0.1)))
        parts.append(f"{Norm(norm).label}: the single step is better on {worse} of {len(ratios)} images")
    return level, "; ".join(parts) or "no single-step attack in the plan"


CHECKS: tuple[Check, ...] = (
    Check(
        CheckName.GRADIENT_BEATS_DECISION,
        "Attacks that see gradients beat attacks that see only decisions",
        "Gradients are the better guide. Where attacks without them do better, the gradients are masked, and every "
        "gradient-based distance of this network is too large.",
        "arXiv:1902.06705",
        gradient_beats_decision,
    ),
    Check(
        CheckName.ALWAYS_FOUND,
        "Without a limit on the distance, some attack succeeds on every image",
        "Enough change turns an image into another one. Where no attack manages that, the attacks are broken or blocked.",
        "arXiv:1902.06705",
        always_found,
    ),
    Check(
        CheckName.MORE_STEPS,
        "The best distances cannot be lowered much further",
        "Distances that still fall with more search are not minimal. Exact distances show it where they are known; "
        "elsewhere a descent is tried with more steps.",
        "arXiv:1902.06705",
        more_steps,
    ),
    Check(
        CheckName.ITERATIVE_BEATS_SINGLE_STEP,
        "Many steps beat a single one",
        "If a single step does better, the loss surface is too rough for the gradient to be followed.",
        "arXiv:1902.06705",
        single_step,
    ),
    Check(
        CheckName.CLEAN_ACCURACY,
        "It is right on clean images",
        "A misclassified image counts at distance 0; low accuracy often means another input range.",
        "",
        clean_accuracy,
    ),
    Check(
        CheckName.GRADIENTS,
        "Gradients do not vanish",
        "Where the gradient of the loss is zero, gradient-based attacks do not move and report nothing.",
        "arXiv:2106.09947",
    ),
    Check(
        CheckName.REPEATS,
        "Two forward passes give the same logits",
        "Randomness in the network makes a candidate adversarial in one pass and not in the next; distances then mean little.",
        "arXiv:2002.08347",
    ),
    Check(
        CheckName.BATCHES,
        "An image's logits do not depend on its batch",
        "An attack on several images at once would otherwise attack another network than the one that is judged.",
    ),
    Check(
        CheckName.LOGITS,
        "The outputs are logits",
        "Probabilities saturate: their gradients vanish where the network is sure, and gradient-based attacks look weak.",
        "arXiv:1902.06705",
    ),
    Check(
        CheckName.LOSS_FALLS,
        "The loss gets better along an attack",
        "An attack whose objective does not improve is not optimising: its result says nothing about the network.",
        "arXiv:2106.09947",
    ),
    Check(
        CheckName.TRANSFER,
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
        Check(CheckName.RUNS, "It maps images to logits", "Anything else cannot be attacked as a classifier."),
        Check(CheckName.FINITE_LOGITS, "Every logit is a finite number", "NaN and infinity cannot be compared."),
        Check(
            CheckName.DEPENDS_ON_THE_IMAGE,
            "Its logits depend on the image",
            "A network that gives every image the same class cannot be attacked.",
        ),
        Check(
            CheckName.FLOAT64,
            "It decides alike in float32 and float64",
            "Attacks work in float32, candidates are judged in float64.",
        ),
    )
}
"""What else is checked before the attacks: shown where it was made."""


def findings(evidence: Evidence, manifest: Mapping[str, Any]) -> list[CheckResult]:
    """Every check on every network.

    Args:
        evidence: of the run.
        manifest: of the run; ``networks[i]["preflight"]`` holds ``{check: {"status", "value", "message"}}`` of the checks
            that were made on the network itself. Such a result stands beside that from the records, and the worse
            of the two counts; checks unknown here are shown as well.

    Returns:
        Results by network, then check.
    """
    made = []
    for network in manifest["networks"]:
        name = str(network["name"])
        before: Mapping[str, Any] = network.get("preflight") or {}
        for check in CHECKS:
            results = [check.judge(evidence, name)] if check.judge else []
            if check.name in before:
                results = [result for result in results if result[0] is not Level.NONE]
                results.append(_weighed(evidence, name, check, _reported(before[check.name])))
            level = worst(level for level, _ in results)
            message = "; ".join(message for _, message in results if message)
            made.append(CheckResult(name, check, level, message or "not part of this run"))
        known = {check.name for check in CHECKS}
        for key, result in before.items():
            if key not in known:
                check = SOUND.get(str(key)) or Check(str(key), str(key), "")
                made.append(CheckResult(name, check, *_reported(result)))
    return made


DESCENT = frozenset(
    {CheckName.LOSS_FALLS, CheckName.MORE_STEPS, CheckName.ITERATIVE_BEATS_SINGLE_STEP, CheckName.TRANSFER}
)
"""The checks that a plain descent of the bench makes before the attacks."""


def _weighed(evidence: Evidence, network: str, check: Check, before: tuple[Level, str]) -> tuple[Level, str]:
    """A result from before the attacks; where the attacks do their work, the bench's own descent can only warn."""
    level, message = before
    if check.name not in DESCENT or level is not Level.FAIL:
        return before
    reason = _agreement(evidence, network)
    if not reason:
        return level, f"{message} (nothing in the records of the attacks shows that they do better)"
    return Level.WARN, f"{message} (the bench's own descent is weak here, not the attacks: {reason})"


def _agreement(evidence: Evidence, network: str) -> str:
    """What in the records shows that the attacks of the run come near the true distances; empty for nothing."""
    results = {judge: judge(evidence, network)[0] for judge in (gradient_beats_decision, always_found, more_steps)}
    if Level.FAIL in results.values() or results[gradient_beats_decision] is Level.WARN:
        return ""
    if results[more_steps] is Level.PASS:
        return "their distances are the exact ones, up to 5 %"
    best = evidence.best[(evidence.best["network"] == network) & ~evidence.best["misclassified"]]
    bounded = best[(best["lower"] > 0) & best["searched"].astype(bool) & np.isfinite(best["distance"])]
    near = (bounded["distance"] / bounded["lower"]).groupby(bounded["norm"].astype(str)).median()
    if len(near) and (near <= 1 + FAR).all():
        return f"their distances are at most {near.max():.3g} times a certified lower bound, median of the images"
    if results[gradient_beats_decision] is Level.PASS:
        return "those that see gradients beat those that see only decisions"
    return ""


def overall(found: Sequence[CheckResult], network: str) -> Level:
    """The worst level of a network's checks; ``not assessed`` when none could be made."""
    return worst(result.level for result in found if result.network == network)


def failing(found: Sequence[CheckResult], networks: Sequence[str]) -> list[str]:
    """The networks whose verdict is a failure: their distances are probably too large, and do not compare."""
    return [name for name in networks if overall(found, name) in (Level.FAIL, Level.STOP)]


def _reported(result: Any) -> tuple[Level, str]:
    """A stored result; what cannot be understood is a warning, never a pass."""
    if not isinstance(result, Mapping):
        return Level.WARN, f"stored result not understood: {result!r}"
    try:
        level = Level(str(result.get("status")))
    except ValueError:
        level = Level.WARN
    return level, str(result.get("message") or result.get("value") or level)


def _attacked(evidence: Evidence, network: str) -> pd.DataFrame:
    records = evidence.attacks
    chosen = (records["network"] == network) & (records["status"] != Status.MISCLASSIFIED.value)
    return records[chosen]
