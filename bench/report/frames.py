"""The metric frames of one report, each computed once, and dressed for its tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import pandas as pd

from bench import metrics
from bench.metrics import METRICS, Evidence, before_after, profiles, tables
from bench.metrics.curves import CERTIFIED
from bench.norms import Norm
from bench.plots.style import library_styles
from bench.report import data

FAR = 1.5
"""An axis of distances goes on to the field's usual eps where that is at most so many times as far."""

TOGETHER = "all attacks together"
"""What the line of the best known distances is called among those of single attacks."""


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
            "attack_order": lambda: profiles.attack_order(evidence, self.plain("summary")),
            "profiles": lambda: self._profiles("profiles"),
            "exact_profiles": lambda: self._profiles("exact_profiles"),
            "contributions": lambda: profiles.contributions(evidence, self.plain("attack_order")),
            "changes": lambda: before_after.changes(evidence, self.distrusted),
            "attack_scores": lambda: metrics.attack_scores(evidence, self.plain("summary")),
            "attack_intervals": self._intervals,
            "attack_panels": self._panels,
            "security_curves": self._security,
            "accuracy_curves": self._accuracy,
            "bracket_curves": self._bracket,
            "duels": self._duels,
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
            added["class_names"] = [evidence.domain.class_names] * len(frame)
        if "attack" in frame and "norm" in frame:
            added["number"] = frame["attack"].astype(str).map(self._numbers()).fillna(0).astype(int)
        if "eps" in frame:
            usual = {norm.value: evidence.usual.get(norm, ()) for norm in Norm}
            added["usual_eps"] = frame["norm"].astype(str).map(usual)
        for name in ("network_a", "network_b"):
            if name in frame and "pair" in frame:
                added[name] = frame[name].astype(pd.CategoricalDtype(list(evidence.networks), ordered=True))
        if "adversarial_class" in frame:
            added["taken_for"] = frame["adversarial_class"].map(evidence.domain.class_name)
        return frame.assign(**added)

    def _most(self) -> pd.Series:
        """For each line of the summary the most images of any attack in its network and norm."""
        summary = self.plain("summary")
        return summary.groupby(["network", "norm"], observed=True)["images"].transform("max")

    def _numbers(self) -> dict[str, int]:
        """The number of each attack in its norm, 1 for the best."""
        order = self.plain("attack_order")
        return dict(zip(order["attack"], order["number"], strict=True))

    def _best_first(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Lines in the order of the attacks' numbers; what is of no attack stays in front."""
        place = frame["attack"].astype(str).map(self._numbers()).fillna(0)
        return frame.loc[place.sort_values(kind="stable").index].reset_index(drop=True)

    def _intervals(self) -> pd.DataFrame:
        """All attacks together, then the summary, best first; what was run on fewer images than others says so in its label."""
        summary, most = self.plain("summary"), self._most()
        fewer = summary["label"] + ", " + summary["images"].astype(str) + " images"
        each = summary.assign(label=summary["label"].where(summary["images"] == most, fewer))
        several = each.groupby("norm")["attack"].nunique()
        best = self.plain("networks")
        best = best[best["norm"].map(several).fillna(0) > 0].assign(attack="", library="", label=TOGETHER)
        best = best.assign(found_rate=best["found"] / best["images"])
        columns = ["network", "norm", "attack", "label", "library", "q1", "median", "q3", "found_rate", "certified"]
        parts = [part.astype({"network": object}).reindex(columns=columns) for part in (best, each)]
        return self._best_first(pd.concat(parts, ignore_index=True))

    def _panels(self) -> pd.DataFrame:
        """Curves of each attack; ``fewer`` is the number of its images where others of the norm had more, else 0."""
        summary, most = self.plain("summary"), self._most()
        fewer = summary.assign(fewer=summary["images"].where(summary["images"] < most, 0)).astype({"network": object})
        curves = self.plain("attack_curves").astype({"network": object})
        return self._best_first(
            curves.merge(fewer[["network", "attack", "fewer"]], how="left", on=["network", "attack"])
        )

    def _security(self) -> pd.DataFrame:
        """All attacks together first, then each attack that was run on as many images as any, so that they compare."""
        summary, most = self.plain("summary").astype({"network": object}), self._most()
        whole = summary.loc[summary["images"] == most, ["network", "norm", "attack"]]
        single = self.plain("attack_curves").astype({"network": object}).merge(whole)
        both = pd.concat([self.plain("best_curves").astype({"network": object}), single], ignore_index=True)
        rows = self.evidence.rows.set_index("attack")
        both = both.assign(**{name: both["attack"].map(rows[name]).fillna("") for name in ("library", "label")})
        # Networks keep their order: a panel each.
        order = pd.CategoricalDtype(list(self.evidence.networks), ordered=True)
        return self._best_first(both).astype({"network": order}).sort_values("network", kind="stable")

    def _profiles(self, name: str) -> pd.DataFrame:
        """Profiles, best first; one over fewer pairs of network and image than others says so in its label."""
        content = METRICS[name](self.evidence)
        if name == "profiles":
            # Where every exact distance is known the two figures are one.
            pairs = [frame.groupby("norm")["pairs"].max() for frame in (content, self.plain("exact_profiles"))]
            content = content[content["norm"].map(pairs[0]) > content["norm"].map(pairs[1]).fillna(0)]
        most = content.groupby("norm")["pairs"].transform("max")
        fewer = content["label"] + ", " + content["pairs"].astype(str) + " images"
        return self._best_first(content.assign(label=content["label"].where(content["pairs"] == most, fewer)))

    def _accuracy(self) -> pd.DataFrame:
        """Curves of all attacks together, and certified ones, of all networks."""
        both = [self.plain(name).astype({"network": object}) for name in ("best_curves", "certified_curves")]
        return pd.concat(both, ignore_index=True)

    def _bracket(self) -> pd.DataFrame:
        """Certified and best curves of the networks and norms that have both."""
        both = self._accuracy()
        known = both.loc[both["attack"] == CERTIFIED, ["network", "norm"]].drop_duplicates()
        return both.merge(known)

    def _duels(self) -> pd.DataFrame:
        """Pairs of networks, each with a panel of its own, the p of its test, and the ends of the axes of its norm."""
        content = METRICS["duels"](self.evidence)
        p = {
            (line["norm"], frozenset((line["network_a"], line["network_b"]))): line["p_holm"]
            for line in self.plain("differences").to_dict("records")
        }
        keys = zip(content["norm"], content["network_a"], content["network_b"], strict=True)
        values = [float(p.get((norm, frozenset((one, two))), np.nan)) for norm, one, two in keys]
        shown = [
            "" if np.isnan(value) else ", p < 0.001" if value < 0.001 else f", p = {value:.2g}" for value in values
        ]
        distance = content[["distance_a", "distance_b"]].astype(np.float64)
        usable = distance.where(np.isfinite(distance) & (distance > 0))
        ends = {
            "smallest": usable.min(axis=1).groupby(content["norm"]).transform("min"),
            "largest": usable.max(axis=1).groupby(content["norm"]).transform("max"),
        }
        pair = content["network_a"].astype(str) + "\nagainst " + content["network_b"].astype(str)
        images = content.groupby(["norm", "network_a", "network_b"])["image"].transform("size").astype(str) + " images"
        return content.assign(pair=pair + "\n" + images + pd.Series(shown, index=content.index, dtype=str), **ends)

    def _pairs(self) -> pd.DataFrame:
        """Pairs of implementations, by method, each with a strip of its own and what that is called."""
        # A table without rows has no text either, to which older versions of pandas add none.
        texts = ("title", "library_a", "library_b", "attack_a", "attack_b")
        content = METRICS["library_pairs"](self.evidence).astype(dict.fromkeys(texts, str))
        names = [content[name].map(self.labels).astype(str) for name in ("library_a", "library_b")]
        label = content["title"] + ": " + names[0] + " / " + names[1]
        content = content.assign(label=label, pair=content["attack_a"] + " " + content["attack_b"])
        return content.sort_values("title", kind="stable").reset_index(drop=True)

    def limit(self, norm: Norm, stretch: float = 1.0) -> float | None:
        """Where axes of distances end in a norm: at the 99th percentile of the best known distances, stretched.

        They go on to the field's usual eps where that is not too far.
        """
        best = self["distances"]
        chosen = best[best["norm"] == norm.value]
        tops = [
            float(np.quantile(finite, 0.99))
            for _, group in chosen.groupby("network", observed=True)
            if len(finite := group["distance"].to_numpy()[np.isfinite(group["distance"].to_numpy())])
        ]
        end = max(tops, default=0.0) * stretch
        usual = self.evidence.usual.get(norm, ())
        return max([end, *(1.04 * eps for eps in usual if eps <= FAR * end)]) or None
