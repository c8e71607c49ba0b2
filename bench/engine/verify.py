"""Judging a stored run again, from the dataset's own images and labels: nothing that the run says is taken for granted.

A run's digests show damage, not intent: whoever changes a record can sign it again. So every adversarial example is judged
again, every decision on a clean image is made again, the networks are checked again, and what no example witnesses
(nothing found, an error, a certified bound) is computed again by the same engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from bench import data, networks
from bench.data.dataset import Dataset, Split
from bench.domain import Domain
from bench.engine import checked, claims, devices, manifest, trust
from bench.engine.again import Again, curve_of, shuffled, where
from bench.engine.claims import Findings, is_live
from bench.engine.images import Images
from bench.engine.manifest import Loaded
from bench.engine.plan import Plan
from bench.engine.request import Given, Job, Request, processes, resolve
from bench.errors import NetworkError, StoreError, unknown
from bench.guard import Guarded
from bench.judge import Decision, Judge
from bench.metrics import evidence, invariants
from bench.networks import Identity
from bench.networks.spec import LIVE, NetworkSpec
from bench.norms import Norm
from bench.records import Status, block_key, curve_problem
from bench.specs import Access, Kind, Suite
from bench.store import Manifest, Run

SECONDS = 60.0
"""For so long blocks whose every record has a witness are computed again as well."""

WITNESSED = (Status.FOUND, Status.MISCLASSIFIED)
"""What is judged again from what is stored; all else has to be computed again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What judging a run again gave.

    Attributes:
        judged: how many adversarial examples were judged.
        computed: how many blocks were computed again.
        blocks: how many blocks are stored.
        unchecked: what could not be checked, and why: a line each.
        broken: what contradicts the run: a line each.
    """

    judged: int
    computed: int
    blocks: int
    unchecked: tuple[str, ...]
    broken: tuple[str, ...]


def verify(
    run: Run,
    modules: Mapping[str, nn.Module] = MappingProxyType({}),
    *,
    trusted: bool = False,
    workers: int | None = 0,
    seconds: float = SECONDS,
    tell: Callable[[str], None] = lambda _: None,
) -> Verified:
    """Judge everything that a run stores again.

    Args:
        run: a stored run; its networks and images are loaded from where they came.
        modules: the networks that no file leads to, by what follows ``live:`` in their source.
        trusted: whether Python files that the run names may be executed, if they are still what it was made with.
        workers: processes that compute blocks again; 0 for this one, None for one for each core.
        seconds: how long to compute blocks again that witnesses prove already; infinity for all of them.
        tell: called with a line on what is being done.

    Raises:
        UsageError: the run names files, and is not trusted.
        StoreError: the run is thinned, a part of it is damaged, or a file is another than the run's.
        NetworkError: a network cannot be loaded, or is another than the run's.
    """
    run.require_whole("verified")
    with trust.only(trust.require(run, trusted=trusted)), networks.live(modules):
        found = Findings()
        stored = _Stored.of(run, found)
        job, images = _asked(stored, modules, found)
        tell(f"loading and checking {', '.join(spec.name for spec in job.plan.networks)}")
        loaded = _loaded(stored, job, images)
        claims.compare(run.manifest, job, loaded, images, found)
        judged = 0
        for one in loaded:
            tell(f"judging the records of {one.spec.name}")
            judged += _judge(stored, one, images, found)
        for rule in invariants(evidence(stored.records, run.manifest), run.manifest):
            if rule.holds is False:
                found.broken(rule.rule.removesuffix("."), rule.detail)
        expected = checked.expected(job, loaded)
        again = Again(run, stored.records, job.plan, images, expected, processes(workers))
        computed = _compute(stored, again, found, seconds, tell)
    return Verified(
        judged=judged,
        computed=computed,
        blocks=len(run.finished),
        unchecked=tuple(found.unchecked),
        broken=tuple(found.lines()),
    )


@dataclass(frozen=True, slots=True)
class _Stored:
    """A run as it is stored, and its blocks as its manifest plans them.

    Attributes:
        run: its folder.
        records: all of it.
        planned: the images of each block, by its key.
        environment: what is not as it was when the run was made, so that it cannot be computed again; empty where all is.
    """

    run: Run
    records: pd.DataFrame
    planned: Mapping[str, tuple[int, ...]]
    environment: str

    @classmethod
    def of(cls, run: Run, found: Findings) -> _Stored:
        """Read a run, and compare its parts with the blocks that its manifest plans."""
        content = run.manifest
        if content["samples"] != len(content["image_sha256"]):
            raise StoreError(
                f"{run.path}/manifest.json speaks of {content['samples']} images and has the SHA-256 of "
                f"{len(content['image_sha256'])}; restore it from a copy of the run"
            )
        records = run.records()
        planned = dict(_planned(content))
        strays = sorted(set(run.finished) - set(planned))
        for key in strays:
            found.broken("block that the run does not plan", key)
        if content.get("status", "finished") == "finished":
            for key in planned:
                if key not in run.finished:
                    found.broken("block of the finished run that is not stored", key)
        for (network, attack, number), block in records.groupby(
            ["network", "attack", "block"], observed=True, sort=False
        ):
            name = block_key(str(network), str(attack), int(str(number)))
            images = tuple(block["image"].tolist())
            if name in planned and images != planned[name]:
                found.broken("block of other images than planned", f"{name} has {_some(images)}")
        claims.signed(content, found)
        return cls(run, records, planned, "; ".join(manifest.environment(content)))

    @property
    def manifest(self) -> Manifest:
        """The run's manifest."""
        return self.run.manifest

    def labels(self, indices: Sequence[int]) -> NDArray[np.int64]:
        """The labels of images as their records have them; 0 where there is no record."""
        known = dict(zip(self.records["image"].tolist(), self.records["label"].tolist(), strict=True))
        return np.array([known.get(index, 0) for index in indices], dtype=np.int64)


def _order(content: Manifest) -> Sequence[int]:
    """The images of a run in the order of its plan.

    Raises:
        StoreError: the manifest has the SHA-256 of others.
    """
    order = content.get("indices") or range(content["samples"])
    if sorted(order) != sorted(map(int, content["image_sha256"])):
        raise StoreError(
            f"the manifest of run {content.get('name')} has the SHA-256 of other images than it names; restore it from a copy"
        )
    return order


def _planned(content: Manifest) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The blocks that a manifest plans: key and images, in ascending order as records are read."""
    order = _order(content)
    for network in content["networks"]:
        for row in content["rows"]:
            size, cap = row.get("block"), row.get("cap")
            if not isinstance(size, int) or size < 1:
                raise StoreError(f"row {row['name']} of the manifest has no number of images to a block")
            count = content["samples"] if cap is None else min(cap, content["samples"])
            for number, start in enumerate(range(0, count, size)):
                images = order[start : min(start + size, count)]
                yield block_key(network["name"], row["name"], number), tuple(sorted(images))


def _specs(content: Manifest) -> tuple[NetworkSpec, ...]:
    """Where the networks of a manifest are from."""
    return tuple(
        NetworkSpec(
            entry["name"],
            entry.get("source"),
            entry.get("weights"),
            entry.get("arguments") or "",
            (tuple(entry["normalize"][0]), tuple(entry["normalize"][1])) if entry.get("normalize") else None,
        )
        for entry in content["networks"]
    )


def _asked(stored: _Stored, modules: Mapping[str, nn.Module], found: Findings) -> tuple[Job, Images]:
    """What the run was asked for, resolved today, and the images from their own source.

    Where the run cannot be computed again, the job has no rows.
    """
    content = stored.manifest
    specs = _specs(content)
    for spec in specs:
        if spec.live and str(spec.source).removeprefix(LIVE) not in modules:
            raise NetworkError(
                f"network {spec.name} is a module of another program; judge the run again from there, with "
                "bench.engine.verify.verify(run, {name: module})"
            )
    dataset = _dataset(stored, found)
    split = str(content["data"]["split"])
    request = Request.from_json(content["request"]) if content.get("request") else None
    reason, same = stored.environment, False
    if request is None:
        reason = "an older version wrote the run, and did not keep what was asked for"
    elif request.suite.startswith(LIVE):
        reason = f"its suite {request.suite.removeprefix(LIVE)} was made by the program that started the run"
    if request is not None and not reason:
        job = (
            _live(request, content, dataset, modules)
            if is_live(stored.manifest)
            else resolve(request, Given(networks=modules))
        )
        same = job.split == split and job.plan.networks == specs and job.plan.indices == tuple(_order(content))
        if not same:
            found.broken("manifest", "its request asks for another split, other images or other networks than it has")
    if request is None or reason or not same:
        found.unchecked.append(
            f"{len(stored.run.finished)} blocks and the rows of the suite could not be computed again: "
            f"{reason or 'the request is another'}"
        )
        size = dataset.splits[split].size if split in dataset.splits else 0
        indices = tuple(index for index in _order(content) if 0 <= index < size)
        job = Job(
            request=request or Request(suite=content["suite"]["name"], data=str(content["data"]["source"])),
            plan=Plan(
                suite=Suite(**content["suite"], rows=(), samples=len(indices)),
                rows=(),
                holes=(),
                networks=specs,
                indices=indices,
                seed=content["seed"],
                time_limit=float(content.get("time_limit") or 600.0),
            ),
            dataset=dataset,
            split=split,
            chosen=str(content["data"]["chosen"]),
            sources={},
        )
    return job, Images(job.dataset, job.split, job.plan)


def _live(request: Request, content: Manifest, dataset: Dataset, modules: Mapping[str, nn.Module]) -> Job:
    """What a program asked for with images of its own, of which only those that were chosen are known: no draw is repeated."""
    how = {name: getattr(request, name) for name in ("samples", "indices", "balanced", "first")}
    listed = replace(request, samples=None, indices=tuple(_order(content)), balanced=False, first=False)
    job = resolve(listed, Given(dataset=dataset, networks=modules))
    return replace(job, request=replace(job.request, **how), chosen=str(content["data"]["chosen"]))


def _dataset(stored: _Stored, found: Findings) -> Dataset:
    """The dataset that the run names; where a program gave its images, what is stored of them."""
    content = stored.manifest
    indices, images = stored.run.images()
    split = str(content["data"]["split"])
    if not is_live(stored.manifest):
        request = Request.from_json(content["request"]) if content.get("request") else Request(suite="")
        dataset, _ = data.located(str(content["data"]["source"]), request.options(_specs(content)))
        if split not in dataset.splits:
            raise unknown(f"split of {dataset.title}", split, dataset.splits)
        known, _ = dataset.load(split, [i for i in indices.tolist() if 0 <= i < dataset.splits[split].size])
        same = len(known) == len(indices) and known.shape == images.shape
        for place, index in enumerate(indices.tolist()):
            if not same or known[place].tobytes() != images[place].astype("<f4").tobytes():
                found.broken("stored image that is not the dataset's", f"image {index}")
        return dataset
    found.unchecked.append(
        "images and labels could not be compared with a dataset: a program gave them; the stored ones were used"
    )
    labels = stored.labels(indices.tolist())
    places = {int(index): place for place, index in enumerate(indices)}

    def read(asked: Any) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        chosen = [places[int(index)] for index in (places if asked is None else asked)]
        return images[chosen], labels[chosen]

    return Dataset(
        name=str(content["data"]["name"]),
        title=str(content["data"]["title"]),
        domain=Domain.from_json(content["domain"]),
        splits={split: Split(max(places, default=0) + 1, read)},
        usual_split=split,
    )


def _loaded(stored: _Stored, job: Job, images: Images) -> list[Loaded]:
    """The networks, checked as before the attacks.

    Raises:
        NetworkError: one is another than the run's, or cannot be attacked.
    """
    device = devices.usable(str(stored.manifest.get("device") or "cpu")) if not stored.environment else "cpu"
    known = {entry["name"]: Identity.from_json(entry) for entry in stored.manifest["networks"]}
    with devices.deterministic(device):
        return checked.load(job, images, device, known=known)


def _judge(stored: _Stored, one: Loaded, images: Images, found: Findings) -> int:
    """Judge all records of a network again; returns the number of adversarial examples."""
    judge = Judge(Guarded(one.source.module, one.source.within), images.domain)
    decisions = dict(zip(images.indices, judge.decide(images.inputs, images.labels), strict=True))
    clean = dict(zip(images.indices, images.inputs, strict=True))
    place = {index: place for place, index in enumerate(_order(stored.manifest))}
    of_network = stored.records[stored.records["network"] == one.spec.name]
    count = 0
    for row in stored.manifest["rows"]:
        entries = of_network[of_network["attack"] == row["name"]].to_dict("records")
        known: list[dict[str, Any]] = []
        for entry in ({str(name): value for name, value in entry.items()} for entry in entries):
            decision = decisions.get(entry["image"])
            if decision is None:
                found.broken("record of an image that the run has not", where(entry))
                continue
            known.append(entry)
            for detail in _contradictions(entry, row, decision, place[entry["image"]]):
                found.broken("record", f"{where(entry)}: {detail}")
        candidates = stored.run.candidates(one.spec.name, row["name"])
        with_example = {entry["image"] for entry in known if entry["status"] == Status.FOUND}
        for image in sorted(set(candidates) - with_example):
            found.broken(
                "example", f"{one.spec.name}, {row['name']}, image {image}: stored, but its record is not found"
            )
        count += len(with_example)
        examples = [entry for entry in known if entry["status"] == Status.FOUND]
        for entry in examples:
            if entry["image"] not in candidates:
                found.broken("example", f"{where(entry)}: no adversarial example is stored")
        with_values = [entry for entry in examples if entry["image"] in candidates]
        for detail in _misjudged(judge, with_values, clean, decisions, candidates):
            found.broken("example", detail)
    return count


def _contradictions(entry: Mapping[str, Any], row: Mapping[str, Any], decision: Decision, place: int) -> Iterator[str]:
    """What a record says of its row, its place in the order of the plan, and its clean image that is not so."""
    for key in ("library", "norm", "kind"):
        if entry[key] != row[key]:
            yield f"its {key} is {row[key]}, the record says {entry[key]}"
    if entry["label"] != decision.label:
        yield f"the true class is {decision.label}, the record says {entry['label']}"
    number = place // row["block"]
    if entry["block"] != number:
        yield f"it is of block {number}, the record says {entry['block']}"
    if entry["predicted"] != decision.predicted:
        yield f"the clean image is taken for {decision.predicted}, the record says {entry['predicted']}"
    misclassified = entry["status"] == Status.MISCLASSIFIED
    if decision.wrong != misclassified:
        yield f"the clean image is classified {'wrongly' if decision.wrong else 'rightly'}, the record says {entry['status']}"
    if not decision.finite and entry["status"] != Status.ERROR:
        yield f"the clean image has no finite logits, the record says {entry['status']}"
    if entry["status"] != Status.FOUND and entry["adversarial_class"] != -1:
        yield f"status {entry['status']} with an adversarial class {entry['adversarial_class']}"
    distances = [entry[norm.value] for norm in Norm]
    usual = 0.0 if misclassified else math.inf
    if entry["status"] != Status.FOUND and any(value != usual for value in [*distances, entry["pixels"]]):
        yield f"status {entry['status']} with distances {distances}"
    if not 0 <= entry["lower"] <= entry[row["norm"]] or (row["kind"] == Kind.UPPER and entry["lower"] != 0):
        yield f"certified lower bound {entry['lower']} beside distance {entry[row['norm']]}"
    if (curve := curve_of(entry)) is not None:
        attacked = not misclassified and (row.get("method") or {}).get("access") == Access.DECISION
        wrong = curve_problem(curve, entry["forwards"], entry["lower"])
        if not attacked:
            yield "a curve, which only decision-based attacks on images that are classified rightly have"
        elif wrong:
            yield wrong


def _misjudged(
    judge: Judge,
    entries: Sequence[Mapping[str, Any]],
    clean: Mapping[int, NDArray[np.float32]],
    decisions: Mapping[int, Decision],
    candidates: Mapping[int, NDArray[np.float32]],
) -> Iterator[str]:
    """What the judge says of adversarial examples that their records do not."""
    if not entries:
        return
    judgements = judge.judge(
        np.stack([clean[entry["image"]] for entry in entries]),
        [decisions[entry["image"]].label for entry in entries],
        np.stack([candidates[entry["image"]] for entry in entries]),
    )
    for entry, judgement in zip(entries, judgements, strict=True):
        if judgement.status is not Status.FOUND:
            state = f"{judgement.status.label} now {judgement.message}".rstrip()
            yield f"{where(entry)}: the stored example is judged {state}"
            continue
        says = {norm.label: (judgement.distances[norm], entry[norm.value]) for norm in Norm}
        says |= {"pixels": (judgement.pixels, entry["pixels"])}
        says |= {"its class": (judgement.adversarial_class, entry["adversarial_class"])}
        for what, (now, before) in says.items():
            if now != before:
                yield f"{where(entry)}: {what} is {now!r}, the record says {before!r}"


def _compute(stored: _Stored, again: Again, found: Findings, seconds: float, tell: Callable[[str], None]) -> int:
    """Compute blocks again and compare; returns how many."""
    blocks = {block.key: block for block in again.plan.blocks() if block.key in stored.run.finished}
    if is_live(stored.manifest) and blocks and stored.manifest["data"]["size"] != stored.manifest["samples"]:
        found.unchecked.append(
            f"{len(blocks)} blocks could not be computed again: the program that started the run had more images than it stored"
        )
        return 0
    records = stored.records
    unproved = records[~records["status"].isin(WITNESSED) | (records["kind"] != Kind.UPPER)]
    needed = {
        block_key(str(network), str(attack), int(number))
        for network, attack, number in unproved[["network", "attack", "block"]]
        .drop_duplicates()
        .itertuples(index=False)
    }
    first = [block for key, block in blocks.items() if key in needed]
    rest = shuffled([block for key, block in blocks.items() if key not in needed])
    if blocks:
        tell(
            f"computing {len(first)} of {len(blocks)} blocks again, in which no example proves a record, and others for "
            f"{seconds:g} seconds"
        )
    done = again.run(first, rest, seconds, tell)
    for detail in again.different:
        found.broken("computed again", detail)
    if done < len(blocks):
        found.unchecked.append(
            f"{len(blocks) - done} of {len(blocks)} blocks, whose every record has an example, were not computed again within "
            f"{seconds:g} seconds; --seconds inf computes all"
        )
    if again.undecided:
        found.unchecked.append(
            f"{again.undecided} records depend on a time limit and on the speed of the machine, and could not be compared"
        )
    return done


def _some(images: Iterable[int]) -> str:
    listed = list(images)
    return f"images {', '.join(map(str, listed[:10]))}{' ...' if len(listed) > 10 else ''}"
