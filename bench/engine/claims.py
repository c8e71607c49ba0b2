"""What a run's manifest claims, compared with its own parts and with what the same request makes today."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench import store
from bench.engine import manifest
from bench.engine.again import words
from bench.engine.images import Images
from bench.engine.manifest import Loaded
from bench.engine.provenance import code_sha256
from bench.engine.request import Job, Request
from bench.errors import StoreError
from bench.networks.spec import LIVE
from bench.store import Manifest

SHOWN = 20
"""Of contradictions of one kind so many get a line each."""

CLOSE = 1e-3
"""Relative difference that figures of the checks before the attacks may have on a machine with another number of cores."""

COMPARED = ("request", "identity", "code", "sources", "packages", "device", "time_limit", "planned")
"""What a manifest of today has beside what readers of any run rely on."""


@dataclass(slots=True)
class Findings:
    """What was found so far.

    Attributes:
        unchecked: what could not be checked, and why.
        by_kind: contradictions by their kind.
    """

    unchecked: list[str] = field(default_factory=list)
    by_kind: dict[str, list[str]] = field(default_factory=dict)

    def broken(self, kind: str, detail: str) -> None:
        """Keep a contradiction."""
        self.by_kind.setdefault(kind, []).append(detail)

    def lines(self) -> Iterator[str]:
        """A line for each contradiction; of many of a kind, for the first of them and one for the rest."""
        for kind, details in self.by_kind.items():
            yield from (f"{kind}: {detail}" for detail in details[:SHOWN])
            if len(details) > SHOWN:
                yield f"{kind}: {len(details) - SHOWN} more"


def is_live(content: Manifest) -> bool:
    """Whether a program gave the images of a run, so that no name leads to them."""
    return str(content["data"]["source"]).startswith(LIVE)


def signed(content: Manifest, found: Findings) -> None:
    """Compare a manifest's identity with its content, and its plan with its identity.

    Raises:
        StoreError: it lacks a part.
    """
    if content["format"] != store.FORMAT:
        return
    lacking = [key for key in COMPARED if content.get(key) is None]
    if lacking:
        raise StoreError(
            f"the manifest of run {content.get('name')} lacks {', '.join(lacking)}; restore it from a copy"
        )
    known = content["identity"]
    if content["plan"] != manifest.plan_of(known):
        found.broken("manifest", "its plan is not the digest of its identity")
    made = manifest.identity(content)
    keys = set(known) | set(made) if content.get("code") == code_sha256() else set(known) & set(made)
    for key in sorted(keys):
        if known.get(key) != made.get(key):
            found.broken("manifest", f"its identity says of {key} another thing than its content")


def compare(content: Manifest, job: Job, loaded: Sequence[Loaded], images: Images, found: Findings) -> None:
    """Compare a manifest with the one that the same request makes today.

    Args:
        content: the manifest.
        job: what its request asks for, resolved today; without rows where the run cannot be computed again.
        loaded: the networks of the job.
        images: of the job.
        found: what contradicts the run goes here.
    """
    device = str(content.get("device") or "cpu")
    # What follows is data as JSON has it, in which a list is no tuple.
    today = json.loads(json.dumps(manifest.describe(job, loaded, images, device)))
    keys = ["domain", "image_sha256"]
    if content.get("image_sha512") is not None:
        keys.append("image_sha512")
    if job.plan.rows and content["format"] == store.FORMAT:
        keys.append("indices")
    if job.plan.rows:
        keys += ["suite", "rows", "holes", "libraries", "samples", "split", "seed", "device", "time_limit", "planned"]
        keys += ["packages", "sources", "files", "identity", "plan"]
        if job.request.to_json() != Request.from_json(content["request"]).to_json():
            found.broken("manifest", "its request is not what it stands for")
    for key in keys:
        for difference in _differences(content.get(key), today[key]):
            found.broken("manifest", f"{key}{difference}")
    whole = not is_live(content) or content["data"]["size"] == content["samples"]
    for key in ("name", "title", "split", "chosen", "sha256", *(("size",) if whole else ())):
        if content["format"] == store.FORMAT and content["data"][key] != today["data"][key]:
            found.broken("manifest", f"data.{key} is {content['data'][key]!r}, it should be {today['data'][key]!r}")
    for entry, now in zip(content["networks"], today["networks"], strict=True):
        _compare_network(entry, now, strict=bool(job.plan.rows), whole=whole, found=found)
    if job.plan.rows:
        warned = [(item["network"], words(item["message"])) for item in content.get("warnings") or []]
        if warned != [(item["network"], words(item["message"])) for item in today["warnings"]]:
            found.broken("manifest", "its warnings are not those of the checks")


def _compare_network(
    entry: Mapping[str, Any], now: Mapping[str, Any], *, strict: bool, whole: bool, found: Findings
) -> None:
    """Compare what a manifest says of a network with what is found today: accuracy, size, checks."""
    name = f"network {entry['name']}"
    accuracy = entry.get("accuracy")
    if whole and (accuracy is None or abs(accuracy - now["accuracy"]) > (0 if strict else CLOSE)):
        found.broken(name, f"its accuracy is {now['accuracy']:.4%}, the manifest says {accuracy}")
    if entry.get("parameters") != now["parameters"]:
        found.broken(name, f"it has {now['parameters']} parameters, the manifest says {entry.get('parameters')}")
    if not strict:
        return
    if whole and entry.get("accuracy_images") != now["accuracy_images"]:
        found.broken(name, f"its accuracy is of {now['accuracy_images']} images, not {entry.get('accuracy_images')}")
    for key in ("name", "source", "weights", "arguments", "normalize", "source_sha256", "notes"):
        if entry.get(key) != now[key]:
            found.broken(name, f"its {key} is {now[key]}, the manifest says {entry.get(key)}")
    if words(str(entry.get("structure"))) != words(now["structure"]):
        found.broken(name, "its printed structure is another")
    before, after = entry.get("preflight") or {}, now["preflight"]
    for check in dict.fromkeys([*before, *after]):
        one, other = before.get(check), after.get(check)
        if one is None or other is None:
            found.broken(
                name, f"check {check} {'is missing in the manifest' if one is None else 'is none of its checks'}"
            )
        elif one.get("status") != other["status"] or not _near(one.get("value"), other["value"]):
            found.broken(
                name,
                f"check {check} gives {other['status']} ({other['value']}), the manifest says {one.get('status')} "
                f"({one.get('value')})",
            )
        elif words(str(one.get("message"))) != words(other["message"]):
            found.broken(name, f"check {check} says {other['message']!r}, the manifest {one.get('message')!r}")


def _differences(before: Any, now: Any, where: str = "") -> Iterator[str]:
    """Where two pieces of JSON data differ."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*before, *now]):
            yield from _differences(before.get(key), now.get(key), f"{where}.{key}")
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for place, (one, other) in enumerate(zip(before, now, strict=True)):
            name = one.get("name") if isinstance(one, Mapping) else None
            yield from _differences(one, other, f"{where}.{name or place}")
    elif before != now:
        yield f"{where} is {_short(before)}, it should be {_short(now)}"


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _near(one: object, other: object) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=CLOSE, abs_tol=CLOSE)
    return one == other
