"""The metric frames of one report, each computed once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from bench.metrics import METRICS, Evidence
from bench.norms import Norm
from bench.specs import LIBRARY_LABELS


class Frames:
    """The metric frames of one report, each computed once."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self._made: dict[str, pd.DataFrame] = {}
        self._own: dict[str, Callable[[], pd.DataFrame]] = {
            "attack_intervals": self._intervals,
            "attack_panels": self._panels,
            "security_curves": self._security,
            "bracket_curves": self._bracket,
            "exact_ratios": self._exact,
            "library_pairs": self._pairs,
        }

    def __getitem__(self, name: str) -> pd.DataFrame:
        """The frame of an entry of METRICS, its networks as ordered categories."""
        if name not in self._made:
            frame = self._own[name]() if name in self._own else METRICS[name](self.evidence)
            if "network" in frame:
                order = pd.CategoricalDtype(list(self.evidence.networks), ordered=True)
                frame = frame.assign(network=frame["network"].astype(order))
            self._made[name] = frame
        return self._made[name]

    def _intervals(self) -> pd.DataFrame:
        """The summary; who was run on fewer images than others of the norm says so in its label."""
        summary = self["summary"]
        most = summary.groupby(["network", "norm"], observed=True)["images"].transform("max")
        fewer = summary["label"] + ", " + summary["images"].astype(str) + " images"
        return summary.assign(label=summary["label"].where(summary["images"] == most, fewer))

    def _panels(self) -> pd.DataFrame:
        """Curves of each attack; ``fewer`` is the number of its images where others of the norm had more, else 0."""
        summary = self["summary"].astype({"network": object})
        most = summary.groupby(["network", "norm"], observed=True)["images"].transform("max")
        fewer = summary.assign(fewer=summary["images"].where(summary["images"] < most, 0))
        curves = self["attack_curves"].astype({"network": object})
        return curves.merge(fewer[["network", "attack", "fewer"]], how="left", on=["network", "attack"])

    def _security(self) -> pd.DataFrame:
        """All attacks together first, then each attack that was run on as many images as any, so that they compare."""
        summary = self["summary"]
        most = summary.groupby(["network", "norm"], observed=True)["images"].transform("max")
        whole = summary.loc[summary["images"] == most, ["network", "norm", "attack"]]
        single = self["attack_curves"].astype({"network": object}).merge(whole.astype({"network": object}))
        both = pd.concat([self["best_curves"].astype({"network": object}), single], ignore_index=True)
        libraries = self.evidence.rows.set_index("attack")["library"]
        return both.assign(library=both["attack"].map(libraries).fillna(""))

    def _bracket(self) -> pd.DataFrame:
        """Certified and best curves of the networks and norms that have both."""
        certified = self["certified_curves"].astype({"network": object})
        best = self["best_curves"].astype({"network": object})
        known = certified[["network", "norm"]].drop_duplicates()
        return pd.concat([best.merge(known), certified], ignore_index=True)

    def _exact(self) -> pd.DataFrame:
        """Ratios on solved images, with the attacks' labels."""
        content = METRICS["ratios"](self.evidence)
        labels = self.evidence.rows.set_index("attack")["label"]
        return content[content["exact"]].assign(label=content["attack"].map(labels))

    def _pairs(self) -> pd.DataFrame:
        """Pairs with what their panels and axes are called."""
        content = METRICS["library_pairs"](self.evidence)
        names = {
            name: content[name].map(lambda key: LIBRARY_LABELS.get(key, key)) for name in ("library_a", "library_b")
        }
        return content.assign(label_a=names["library_a"], label_b=names["library_b"], pair=content["title"])

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
