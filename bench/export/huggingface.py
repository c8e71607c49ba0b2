"""Hugging Face: results for a model's repository, as ``.eval_results/*.yaml`` and as metadata of a model card.

For each network a folder with ``.eval_results/minimal_norm.yaml``, after huggingface.co/docs/hub/eval-results, and
``README.md``, whose metadata hold the same numbers as a ``model-index``, after ``modelcard.md`` of github.com/huggingface/hub-docs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.errors import UsageError
from bench.export.material import Material
from bench.export.names import safe
from bench.export.target import Place, Target
from bench.norms import Norm
from bench.report import data

ON_THE_HUB = {"mnist": "ylecun/mnist", "CIFAR10": "uoft-cs/cifar10"}
"""Datasets of the bench by their identifiers on the Hub; others go by the name of the run's dataset."""

FILE = "minimal_norm.yaml"


@dataclass(frozen=True, slots=True)
class Score:
    """One number of a network.

    Attributes:
        task: identifier of the task, such as ``median_l2`` or ``robust_accuracy_linf_0.1``.
        title: the metric in words.
        value: finite.
        notes: how it was measured, and how sure it is.
    """

    task: str
    title: str
    value: float
    notes: str


def write(material: Material, place: Place) -> None:
    """Write a folder for each network.

    Raises:
        UsageError: an option is no identifier or address.
    """
    import yaml  # noqa: PLC0415 - an extra

    repository = _dataset(material, place.options)
    source = _source(place.options)
    for network in material.evidence.networks:
        folder = place.folder / safe(network)
        results = folder / ".eval_results"
        results.mkdir(parents=True)
        found = list(scores(material, network))
        entries = [_entry(score, repository, material, source) for score in found]
        dump = {"sort_keys": False, "allow_unicode": True, "width": 1000}
        (results / FILE).write_text(yaml.safe_dump(entries, **dump), encoding="utf-8")
        index = yaml.safe_dump(_card(network, found, repository, material, source), **dump)
        text = f"---\n{index}---\n\n{_page(material, network, found)}"
        (folder / "README.md").write_text(text, encoding="utf-8")


def scores(material: Material, network: str) -> Iterator[Score]:
    """The numbers of a network; a median that is infinite, for which formats have no number, is left out.

    Yields:
        Clean accuracy (a fraction); for each norm the median of the smallest known distances, in the data's own unit; robust
        accuracies (fractions) at round sizes of change.
    """
    content = material.manifest
    told = next(each for each in content["networks"] if each["name"] == network)
    if told.get("accuracy") is not None:
        images = told.get("accuracy_images") or content["samples"]
        yield Score("accuracy", "Clean accuracy", float(told["accuracy"]), f"on {images} images")
    how = f"suite {content['suite']['name']}, {content['samples']} images, verdict on the distances: {material.verdict(network)}"
    medians = material.frames.plain("networks")
    for line in medians[medians["network"] == network].to_dict("records"):
        norm = Norm(line["norm"])
        if not np.isfinite(line["median"]):
            continue
        unit = data.unit(material.evidence.domain, norm)
        notes = f"95 % interval {line['median_low']:.4g} to {line['median_high']:.4g}"
        notes += f"; unit: {unit}" if unit else ""
        notes += "" if np.isnan(line["certified"]) else f"; certified median {line['certified']:.4g}"
        title = f"Median minimal {norm.label} norm (smallest known change that makes an image wrong)"
        yield Score(f"median_{norm.value}", title, float(line["median"]), f"{notes}; {how}")
    robust = material.frames.plain("robust_accuracy")
    for line in robust[robust["network"] == network].to_dict("records"):
        norm, eps = Norm(line["norm"]), f"{line['eps']:g}"
        notes = f"95 % interval {line['low']:.3g} to {line['high']:.3g}; an upper bound of the true one; {how}"
        title = f"Robust accuracy, {norm.label} change of at most {eps}"
        yield Score(f"robust_accuracy_{norm.value}_{eps}", title, float(line["robust_accuracy"]), notes)


def _entry(score: Score, repository: str, material: Material, source: Mapping[str, str]) -> dict[str, Any]:
    """One result of ``.eval_results``: keys and their order as the Hub documents them."""
    entry: dict[str, Any] = {
        "dataset": {"id": repository, "task_id": score.task},
        "value": score.value,
        "date": str(material.manifest.get("ended") or material.manifest["started"]),
    }
    return entry | ({"source": dict(source)} if source else {}) | {"notes": f"{score.title}; {score.notes}"}


def _card(
    network: str, found: list[Score], repository: str, material: Material, source: Mapping[str, str]
) -> dict[str, Any]:
    """The metadata of a model card: a ``model-index`` of one model."""
    result: dict[str, Any] = {
        "task": {
            "type": "image-classification" if data.is_picture(material.evidence.domain) else "tabular-classification"
        },
        "dataset": {
            "type": repository,
            "name": str(material.manifest["data"]["title"]),
            "split": str(material.manifest["split"]),
        },
        "metrics": [{"type": score.task, "name": score.title, "value": score.value} for score in found],
    }
    if source:
        result["source"] = {"name": source.get("name", "Minimal-norm robustness"), "url": source["url"]}
    return {"tags": ["adversarial-robustness"], "model-index": [{"name": network, "results": [result]}]}


def _page(material: Material, network: str, found: list[Score]) -> str:
    lines = [
        f"# {network}: minimal-norm robustness",
        "",
        (
            "How small a change makes this model wrong, image by image. Distances and robust accuracies are of the best known "
            "adversarial examples: the true ones can only be smaller."
        ),
        "",
        "| metric | value | how |",
        "|---|---|---|",
        *(f"| {score.title} | {score.value:.4g} | {score.notes} |" for score in found),
        "",
        *(f"- {key}: {value}" for key, value in material.provenance.items()),
    ]
    return "\n".join(lines) + "\n"


def _dataset(material: Material, options: Mapping[str, str]) -> str:
    name = str(material.manifest["data"]["name"])
    given = options.get("dataset", ON_THE_HUB.get(name, name))
    if not given or any(letter.isspace() for letter in given) or given.count("/") > 1:
        raise UsageError(f"dataset={given} is no identifier on the Hub; give one such as ylecun/mnist")
    return given


def _source(options: Mapping[str, str]) -> dict[str, str]:
    url, named = options.get("url"), {key: options[key] for key in ("name", "user") if key in options}
    if url is None:
        if named:
            raise UsageError(f"{', '.join(named)} say whose source it is; give url= as well")
        return {}
    if not url.startswith(("https://", "http://")):
        raise UsageError(f"url={url} is no address; give one that begins with https://")
    return {"url": url, **named}


TARGET = Target(
    name="huggingface",
    title="results for a model's repository: .eval_results/*.yaml, and a model card's metadata",
    write=write,
    options={
        "dataset": "identifier of the dataset on the Hub",
        "url": "address of the source of the results",
        "name": "name of the source",
        "user": "whose source it is, on the Hub",
    },
    packages=("yaml",),
    install="pip install 'minimal-norm-bench[huggingface]'",
)
