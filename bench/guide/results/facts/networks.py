"""What was run, and the networks: layers, training, accuracies."""

from __future__ import annotations

import json
from importlib import resources

from bench import metrics
from bench.guide.results.facts.base import DROPOUT, Facts
from bench.guide.results.stored import Stored
from bench.report import data

ORIGINAL = {"MLP": 0.9723, "MLP_d": 0.9724, "CNN": 0.9895, "CNN_d": 0.9910}
"""Test accuracies that the original write-up states of its own four networks."""

LAYERS = {
    "MLP": "784-128-128-10, ReLU",
    "MLP_d": "784-128-128-10, ReLU, dropout 0.4",
    "CNN": "conv 5x5 1→20, max-pool, conv 3x3 20→40, max-pool, 1000-120-10, ReLU",
    "CNN_d": "conv 5x5 1→20, max-pool, conv 3x3 20→40, max-pool, 1000-120-10, ReLU, dropout 0.4",
    "CNN_at_linf": "CNN",
    "CNN_at_l2": "CNN",
    "MLP_digits": "64-32-32-10, ReLU",
    "MLP_cancer": "30-16-2, ReLU",
}
"""The networks of the bench."""


def about(run: Stored) -> Facts:
    """What a run is: suite, images, networks, machine, what is known of how long it took."""
    content = run.manifest
    planned = sum(1 for row in content["rows"] if row["kind"] == "upper")
    return {
        "name": run.name,
        "suite": content["suite"]["name"],
        "split": content["split"],
        "title": content["data"]["title"],
        "samples": int(content["samples"]),
        "images": data.chosen(content),
        "networks": [network["name"] for network in content["networks"]],
        "rows": len(content["rows"]),
        "attacks": planned,
        "records": len(run.records),
        "left_out": list(run.frames.distrusted),
        "day": str(content["started"])[:10],
        "versions": {
            library["label"]: list(library.get("versions", {}).values())[:1] for library in content["libraries"]
        },
    }


def training(run: Stored) -> Facts:
    """The networks of the bench: layers, parameters, accuracies, and those that the original write-up states."""
    folder = resources.files("bench.networks") / "weights"
    known = {network["name"]: network for network in run.manifest["networks"]}
    lines = []
    for name, layers in LAYERS.items():
        content = json.loads((folder / f"{name}.json").read_text())
        line: Facts = {
            "name": name,
            "layers": layers,
            "train": content["train_accuracy"],
            "test": content["test_accuracy"],
        }
        line |= {key: content.get(key) for key in ("epochs", "batch_size", "lr")}
        network = known.get(name, {})
        line["parameters"] = network.get("parameters")
        line["original"] = ORIGINAL.get(name)
        images = network.get("accuracy_images")
        if line["original"] is not None and images:
            low, high = (float(end) for end in metrics.wilson(round(line["test"] * images), images))
            line |= {"low": low, "high": high, "images": images}
            line["beside"] = "above" if low > line["original"] else "below" if high < line["original"] else "same"
        lines.append(line)
    own = {line["name"]: line for line in lines}
    pairs = [
        {
            "plain": plain,
            "drop": drop,
            "gain": own[drop]["test"] - own[plain]["test"],
            "gap": (own[plain]["train"] - own[plain]["test"], own[drop]["train"] - own[drop]["test"]),
        }
        for plain, drop in DROPOUT
    ]
    return {"networks": lines, "compared": [line for line in lines if "beside" in line], "pairs": pairs}
