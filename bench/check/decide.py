"""Each requirement decided on the run: held, broken, or not decidable with so few images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bench import metrics
from bench.check import baseline as against
from bench.check import worse
from bench.check.asked import asked
from bench.check.decision import Checked, Decision, Outcome
from bench.check.measured import Floats, bounds, distances, failed, right
from bench.check.requirements import Quantity, Requirement, Sign
from bench.check.runs import Opened
from bench.errors import UsageError
from bench.findings import Level
from bench.metrics.needed import LEAST_OF_A_MEDIAN, images_for_fraction
from bench.records import Status

_OF_ATTACKS = (Quantity.MEDIAN, Quantity.ROBUST_ACCURACY, Quantity.NO_WORSE)
"""What rests on how far attacks came."""


def decide(requirements: Sequence[Requirement], run: Opened, baseline: Opened | None = None) -> Checked:
    """Decide requirements.

    Args:
        requirements: at least one.
        run: what they are required of.
        baseline: what ``no-worse`` compares with; None where nothing does.

    Raises:
        UsageError: one cannot be asked of this run: another network, norm or attack, no certified bounds, no baseline; or
            two ask the same of one network.
    """
    pairs = asked(requirements, run)
    compared = [pair for pair in pairs if pair[0].quantity is Quantity.NO_WORSE]
    made: dict[tuple[Requirement, str], Decision] = {}
    notes: list[str] = []
    if compared:
        if baseline is None:
            raise UsageError(
                f"requirement '{compared[0][0]}' compares with a baseline; give one: --baseline results/<run>"
            )
        common = against.common(run, baseline)
        notes += [*common.notes, *_of_baseline([name for _, name in compared], common.networks, baseline)]
        for pair, found in zip(compared, worse.compared(compared, common, baseline.name), strict=True):
            made[pair] = Decision(
                requirement=pair[0],
                network=pair[1],
                outcome=_outcome(found.favour),
                measured=found.measured,
                needed=_needed(found.needed, run) if found.favour is None else "",
            )
    decisions = [made.get(pair) or _one(*pair, run) for pair in pairs]
    return Checked(decisions=decisions, notes=[*notes, *_cautions(decisions, run)])


def _one(one: Requirement, network: str, run: Opened) -> Decision:
    """A requirement that needs no baseline."""
    if one.quantity is Quantity.VERDICT:
        return _verdict(one, network, run)
    if one.quantity is Quantity.FOUND_RATE:
        return _found_rate(one, network, run)
    if one.quantity is Quantity.MEDIAN:
        assert one.norm is not None
        return _median(one, network, run, distances(run, network, one.norm))
    if one.quantity is Quantity.CLEAN_ACCURACY:
        count, images, whole = right(run, network)
        return (
            _counted(one, network, count, images, "of the split")
            if whole
            else _fraction(one, network, run, count, images)
        )
    assert one.norm is not None
    values = (bounds if one.quantity is Quantity.CERTIFIED else distances)(run, network, one.norm)
    count = round(float(metrics.robust_accuracy(values, one.eps or 0.0)) * len(values))
    return _fraction(one, network, run, count, len(values))


def _counted(one: Requirement, network: str, count: int, images: int, what: str) -> Decision:
    """As counted, of what there is in all: nothing is estimated."""
    favour = _side(one, count / images, count / images)
    measured = f"{count / images:.4g}, {count:,} of all {images:,} images {what}"
    return Decision(requirement=one, network=network, outcome=_outcome(favour), measured=measured)


def _fraction(one: Requirement, network: str, run: Opened, count: int, images: int) -> Decision:
    """By Wilson's interval."""
    low, high = (float(end) for end in metrics.wilson(count, images))
    measured = f"{count / images:.4g}, 95 % interval {low:.4g} to {high:.4g}, {images:,} images"
    favour = _side(one, low, high)
    needed = _needed(_more(images_for_fraction(count / images, one.value), images), run) if favour is None else ""
    return Decision(requirement=one, network=network, outcome=_outcome(favour), measured=measured, needed=needed)


def _median(one: Requirement, network: str, run: Opened, distances: Floats) -> Decision:
    """By the bootstrap interval; with too few images there is none."""
    images = len(distances)
    low, high = metrics.median_interval(distances)
    measured = f"{metrics.median(distances):.4g}, 95 % interval {low:.4g} to {high:.4g}, {images:,} images"
    favour = _side(one, low, high) if images >= LEAST_OF_A_MEDIAN else None
    if images < LEAST_OF_A_MEDIAN:
        measured = f"{metrics.median(distances):.4g}, too few images for an interval ({images})"
    equal_counts = one.sign in (Sign.ABOVE, Sign.AT_MOST)
    below = float((distances <= one.value if equal_counts else distances < one.value).mean())
    more = _more(images_for_fraction(below, 0.5), images)
    needed = _needed(more if more is None else max(more, LEAST_OF_A_MEDIAN), run) if favour is None else ""
    return Decision(requirement=one, network=network, outcome=_outcome(favour), measured=measured, needed=needed)


def _found_rate(one: Requirement, network: str, run: Opened) -> Decision:
    """As counted: it says how the attack did in this run."""
    attacks = run.evidence.attacks
    chosen = attacks[(attacks["network"] == network) & (attacks["attack"] == one.attack)]
    own = chosen.loc[chosen["status"] != Status.MISCLASSIFIED.value, "distance"].to_numpy(dtype=np.float64)
    if not len(own):
        measured = "no image was attacked"
        return Decision(requirement=one, network=network, outcome=Outcome.UNDECIDED, measured=measured)
    return _counted(one, network, int(np.isfinite(own).sum()), len(own), "that were attacked")


def _verdict(one: Requirement, network: str, run: Opened) -> Decision:
    level = run.verdicts[network]
    if level is Level.NONE:
        measured = "not assessed, the run has nothing to judge by"
        return Decision(requirement=one, network=network, outcome=Outcome.UNDECIDED, measured=measured)
    assert one.level is not None
    order = list(Level)
    held = order.index(level) >= order.index(one.level) if one.sign is Sign.AT_LEAST else level is one.level
    return Decision(requirement=one, network=network, outcome=_outcome(held), measured=level.value)


def _side(one: Requirement, low: float, high: float) -> bool | None:
    """Whether an interval lies wholly on the side that is required (True), wholly on the other (False), or on both."""
    value = one.value
    sides = {
        Sign.AT_LEAST: (low >= value, high < value),
        Sign.ABOVE: (low > value, high <= value),
        Sign.AT_MOST: (high <= value, low > value),
        Sign.BELOW: (high < value, low >= value),
        Sign.EQUAL: (low == high == value, low != value),
    }
    assert one.sign is not None
    right, wrong = sides[one.sign]
    return True if right else False if wrong else None


def _more(needed: int | None, images: int) -> int | None:
    """More images than there were, as these did not decide it."""
    return None if needed is None else max(needed, images + 1)


def _cautions(decisions: Sequence[Decision], run: Opened) -> list[str]:
    """What makes a decision on distances less sure than its interval says."""
    about = [one for one in decisions if one.requirement.quantity in _OF_ATTACKS]
    distrusted = [
        f"network {name} has the verdict '{run.verdicts[name]}': its distances are probably too large, so that what is held "
        "may not hold; the report says why"
        for name in dict.fromkeys(one.network for one in about)
        if run.verdicts[name] in (Level.FAIL, Level.STOP)
    ]
    pairs = dict.fromkeys((one.network, one.requirement.norm) for one in about)
    left_out = [(name, norm, failed(run, name, norm)) for name, norm in pairs if norm is not None]
    return distrusted + [
        f"{images} images of network {name} are left out in {norm}, as every attack that was run on them failed"
        for name, norm, images in left_out
        if images
    ]


def _of_baseline(names: Sequence[str], networks: Mapping[str, str], baseline: Opened) -> list[str]:
    """What makes a comparison less sure on the baseline's side."""
    there = dict.fromkeys(networks[name] for name in names if name in networks)
    return [
        f"network {name} of the baseline has the verdict '{baseline.verdicts[name]}': its distances are probably too large, so "
        "that what is broken may be no worse"
        for name in there
        if baseline.verdicts[name] in (Level.FAIL, Level.STOP)
    ]


def _outcome(favour: bool | None) -> Outcome:
    return Outcome.UNDECIDED if favour is None else Outcome.HELD if favour else Outcome.BROKEN


def _needed(images: int | None, run: Opened) -> str:
    """About how many images would decide it, and whether there are so many."""
    if images is None:
        return "no number of images would decide it, if the figures stay"
    rounded = float(f"{images:.2g}")
    text = f"about {max(rounded, 1):,.0f} images would decide it, if the figures stay"
    size = run.manifest["data"].get("size")
    return f"{text}; the split has {size:,}" if size and size < images else text
