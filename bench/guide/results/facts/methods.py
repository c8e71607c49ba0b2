"""Every method of the suites, in words and with what it found."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import suites
from bench.guide.results.facts.base import Facts
from bench.guide.results.stored import Stored
from bench.specs import AttackSpec, Family, Method

SUITES = ("minimal_norm", "strong", "l1")


def methods(run: Stored, paths: Mapping[str, Any] | None) -> list[tuple[str, list[Facts]]]:
    """Every method of the suites, family by family: idea, formula, where its figure is, and how near it came."""
    drawn = {path["slug"]: path for path in (paths or {}).get("paths", ())}
    scores = run.frames["attack_scores"]
    found: dict[str, tuple[Method, list[AttackSpec]]] = {}
    for suite in SUITES:
        for row in suites.load(suite).rows:
            if isinstance(row, AttackSpec):
                found.setdefault(row.method.slug, (row.method, []))[1].append(row)
    ordered = sorted(found.values(), key=lambda pair: list(Family).index(pair[0].family))
    made = [
        {
            "slug": method.slug,
            "title": method.title,
            "family": method.family.value,
            "access": method.access.value,
            "paper": method.paper,
            "idea": method.idea,
            "formula": method.formula,
            "rows": list(dict.fromkeys(row.label for row in rows)),
            "path": drawn.get(method.slug),
            "scores": [
                {"label": line["label"], "ratio": line["ratio"], "norm": line["norm"]}
                for line in scores[scores["attack"].isin([row.name for row in rows])].to_dict("records")
            ],
        }
        for method, rows in ordered
    ]
    return [(family, list(group)) for family, group in groupby(made, key=lambda method: str(method["family"]))]
