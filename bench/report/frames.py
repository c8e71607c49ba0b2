"""The metric frames of one report, each computed once, and dressed for its tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import pandas as pd

from bench import metrics
from bench.metrics import METRICS, Evidence, tables
from bench.norms import Norm
from bench.plots.style import library_styles
from bench.report import data


class Frames:
    """The metric frames of one report.

    ``frames[name]`` is an entry of METRICS, or one of the report's own, with what its tables and figures need besides:
    networks and libraries as categories in the order of the run, ``unit`` of distances, ``library_label`` and
    ``library_marker``, names of classes. :meth:`plain` is the metric alone.

    Attributes:
        evidence: of the run.
        distrusted: networks whose checks fail, and which are left out of comparisons.
    """

    def __init__(self, evidence: Evidence, distrusted: Collection[str] = ()) -> None:
        self.evidence = evidence
        self.distrusted = tuple(distrusted)
        self._made: dict[str, pd.DataFrame] = {}
        self._dressed: dict[str, pd.DataFrame] = {}
        styles = library_styles({name: library.marker for name, library in evidence.libraries.items()})
        self._markers = {name: style.marker for name, style in styles.items()}
        self.labels = {name: library.label for name, library in evidence.libraries.items()}
        self._own: dict[str, Callable[[], pd.DataFrame]] = {
            "networks": lambda: tables.networks(evidence, self.distrusted),
            "differences": lambda: tables.differences(evidence, self.distrusted),
            "attack_scores": lambda: metrics.attack_scores(evidence, self.plain("summary")),
            "attack_intervals": self._intervals,
            "attack_panels": self._panels,
            "security_curves": self._security,
            "bracket_curves": self._bracket,
            "exact_ratios": self._exact,
            "library_pairs": self._pairs,
        }

    def plain(self, name: str) -> pd.DataFrame:
        """The frame of an entry of METRICS as the metric gives it."""
        if name not in self._made:
            self._made[name] = self._own[name]() if name in self._own else METRICS[name](self.evidence)
        return self._made[name]

    def __getitem__(self, name: str) -> pd.DataFrame:
        """The frame, dressed."""
        if name not in self._dressed:
            self._dressed[name] = self._dress(self.plain(name))
        return self._dressed[name]

    def _dress(self, frame: pd.DataFrame) -> pd.DataFrame:
        evidence = self.evidence
        added: dict[str, Any] = {}
        if "network" in frame:
            order = pd.CategoricalDtype(list(evidence.networks), ordered=True)
            added["network"] = frame["network"].astype(order)
        if "norm" in frame:
            units = {norm.value: data.unit(evidence.domain, norm) or norm.unit for norm in Norm}
            added["unit"] = frame["norm"].astype(str).map(units)
        if "library" in frame:
            names = frame["library"].astype(str)
            added["library"] = names.astype(pd.CategoricalDtype([*evidence.libraries, ""], ordered=True))
            added["library_label"] = names.map(self.labels).fillna("")
            added["library_marker"] = names.map(self._markers).fillna("")
        if "label" in frame and pd.api.types.is_integer_dtype(frame["label"]):
            added["class"] = frame["label"].map(evidence.domain.class_name)
            added["classes"] = evidence.domain.classes
        if "adversarial_class" in frame:
            added["taken_for"] = frame["adversarial_class"].map(evidence.domain.class_name)
        return frame.assign(**added)

    def _most(self) -> pd.Series:
        """For each line of the summary the most images of any attack in its network and norm."""
        summary = self.plain("summary")
        return summary.groupby(["network", "norm"], observed=True)["images"].transform("max")

    def _intervals(self) -> pd.DataFrame:
        """The summary; what was run on fewer images than others of the norm says so in its label."""
        summary, most = self.plain("summary"), self._most()
        fewer = summary["label"] + ", " + summary["images"].astype(str) + " images"
        return summary.assign(label=summary["label"].where(summary["images"] == most, fewer))

    def _panels(self) -> pd.DataFrame:
        """Curves of each attack; ``fewer`` is the number of its images where others of the norm had more, else 0."""
        summary, most = self.plain("summary"), self._most()
        fewer = summary.assign(fewer=summary["images"].where(summary["images"] < most, 0)).astype({"network": object})
        curves = self.plain("attack_curves").astype({"network": object})
        return curves.merge(fewer[["network", "attack", "fewer"]], how="left", on=["network", "attack"])

    def _security(self) -> pd.DataFrame:
        """All attacks together first, then each attack that was run on as many images as any, so that they compare."""
        summary, most = self.plain("summary").astype({"network": object}), self._most()
        whole = summary.loc[summary["images"] == most, ["network", "norm", "attack"]]
        single = self.plain("attack_curves").astype({"network": object}).merge(whole)
        both = pd.concat([self.plain("best_curves").astype({"network": object}), single], ignore_index=True)
        libraries = self.evidence.rows.set_index("attack")["library"]
        return both.assign(library=both["attack"].map(libraries).fillna(""))

    def _bracket(self) -> pd.DataFrame:
        """Certified and best curves of the networks and norms that have both."""
        certified = self.plain("certified_curves").astype({"network": object})
        best = self.plain("best_curves").astype({"network": object})
        known = certified[["network", "norm"]].drop_duplicates()
        return pd.concat([best.merge(known), certified], ignore_index=True)

    def _exact(self) -> pd.DataFrame:
        """Ratios on solved images, with the attacks' labels."""
        content = self.plain("ratios")
        labels = self.evidence.rows.set_index("attack")["label"]
        return content[content["exact"]].assign(label=content["attack"].map(labels))

    def _pairs(self) -> pd.DataFrame:
        """Pairs of implementations, each with a panel of its own, and what it and its axes are called."""
        content = METRICS["library_pairs"](self.evidence)
        names = {name: content[name].map(self.labels) for name in ("library_a", "library_b")}
        several = len(content[["library_a", "library_b"]].drop_duplicates()) > 1
        both = ": " + names["library_a"] + " and " + names["library_b"] if several else ""
        return content.assign(label_a=names["library_a"], label_b=names["library_b"], pair=content["title"] + both)

    def limit(self, norm: Norm, stretch: float = 1.0) -> float | None:
        """Where axes of distances end in a norm: at the 99th percentile of the best known distances, stretched."""
        best = self["distances"]
        chosen = best[best["norm"] == norm.value]
        tops = [
            float(np.quantile(finite, 0.99))
            for _, group in chosen.groupby("network", observed=True)
            if len(finite := group["distance"].to_numpy()[np.isfinite(group["distance"].to_numpy())])
        ]
        return max(tops) * stretch or None if tops else None
