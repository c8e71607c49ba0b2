"""Plots: what lines, points and labels hold, and that looks go by name."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest
import synthetic
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch, Rectangle

from bench import metrics, plots, report
from bench.norms import Norm
from bench.plots import classes, comparisons, curves, distributions, labels, legends, style, svg
from bench.report import exports, figures, sources
from bench.report.frames import Frames
from bench.specs import Origin, Suite
from bench.usual_eps import usual_eps

NETWORKS = ("MLP", "MLP_d", "CNN", "CNN_d")


@pytest.fixture(scope="module")
def frames() -> Frames:
    run = synthetic.run(samples=25, seed=1)
    return Frames(metrics.evidence(run.records(), run.manifest))


@pytest.fixture
def axes() -> Axes:
    with plots.drawing():
        return Figure().subplots()


def of_norm(frame: pd.DataFrame, norm: str = "l2") -> pd.DataFrame:
    return frame[frame["norm"] == norm]


def test_looks_go_by_the_place_in_the_run() -> None:
    four = style.network_styles(NETWORKS)
    assert [look.colour for look in four.values()] == ["#0072b2", "#d55e00", "#00926a", "#6a1b5a"]
    many = style.network_styles([f"net{place}" for place in range(32)])
    assert len(set(many.values())) == 32, "no two networks of one report look alike"
    assert list(many.values())[:4] == list(four.values())


def test_every_library_has_a_marker_of_its_own() -> None:
    asked = {"art": "s", "foolbox": "o", "mine": "", "yours": "o", "paper": "D", "more": ""}
    looks = style.library_styles(asked)
    assert [looks[name].marker for name in ("art", "foolbox", "paper")] == ["s", "o", "D"]
    assert len({look.marker for look in looks.values()}) == len(asked)
    assert len({str(look.dash) for look in list(looks.values())[:4]}) == 4
    assert style.library_styles(asked) == looks
    assert len(style.library_styles({f"library{place}": "" for place in range(30)})) == 30


def linear(colour: str) -> np.ndarray:
    channels = np.array(to_rgb(colour))
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def luminance(colour: str) -> float:
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB (D65) of linear RGB."""
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
    xyz = np.array(to_xyz) @ rgb / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
VISION = {
    "full": np.eye(3),
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}


@pytest.mark.parametrize("dark", [False, True])
def test_every_colour_stands_out_from_its_background(dark: bool) -> None:
    paper = luminance(style.DARK[style.PAPER] if dark else style.PAPER)
    for colour, other in style.DARK.items():
        if colour in (style.PAPER, style.RULE):
            continue
        value = luminance(other if dark else colour)
        contrast = (max(value, paper) + 0.05) / (min(value, paper) + 0.05)
        assert contrast >= 3, (colour, contrast)


@pytest.mark.parametrize("vision", sorted(VISION))
@pytest.mark.parametrize("dark", [False, True])
def test_the_four_networks_differ_for_every_reader(dark: bool, vision: str) -> None:
    drawn = [style.network_styles(NETWORKS)[name].colour for name in NETWORKS]
    seen = [lab(np.clip(VISION[vision] @ linear(style.DARK[c] if dark else c), 0, 1)) for c in drawn]
    for a, b in itertools.combinations(range(4), 2):
        assert np.linalg.norm(seen[a] - seen[b]) > 18, (NETWORKS[a], NETWORKS[b])


def test_without_colour_the_dash_tells_the_networks_apart() -> None:
    assert len({str(look.dash) for look in style.network_styles(NETWORKS).values()}) == 4


def lines_of(axes: Axes) -> dict[str, Line2D]:
    return {str(line.get_label()): line for line in axes.get_lines() if not str(line.get_label()).startswith("_")}


def data(line: Line2D) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(line.get_xdata(), dtype=float), np.asarray(line.get_ydata(), dtype=float)


def dots(axes: Axes) -> list[np.ndarray]:
    """Where the points of each set of dots are."""
    drawn = [patch for patch in axes.patches if isinstance(patch, PathPatch) and patch.get_capstyle() == "round"]
    return [np.asarray(patch.get_path().vertices)[::2] for patch in drawn]


def test_robust_accuracy_falls_and_holds_the_fractions(frames: Frames, axes: Axes) -> None:
    curves.accuracy(of_norm(frames["accuracy_curves"]), axes)
    lines = lines_of(axes)
    assert list(lines) == [name for network in NETWORKS for name in (network, f"{network}, certified")]
    best = frames.evidence.best
    looks = style.network_styles(NETWORKS)
    for name in NETWORKS:
        own = best[(best["network"] == name) & (best["norm"] == "l2")]
        for label, column in ((name, "distance"), (f"{name}, certified", "lower")):
            x, y = data(lines[label])
            np.testing.assert_allclose(y, [(own[column] > eps).mean() for eps in x], atol=1e-12)
            assert (np.diff(y) <= 0).all()
            assert to_hex(str(lines[label].get_color())) == looks[name].colour
    assert lines["MLP"].get_linestyle() == "-"
    assert lines["MLP, certified"].get_linestyle() == "--"
    assert axes.get_ylabel() == "robust accuracy"
    assert len(axes.collections) == 4, "a band each"
    quarters = {str(line.get_marker()) for line in axes.get_lines()} - {"None"}
    assert len(quarters) == 4, "markers tell networks apart where colours do not"


def test_of_many_networks_no_bands_are_drawn(axes: Axes) -> None:
    line = {"norm": "l2", "attack": "best of all", "low": 0.0, "high": 1.0}
    lines = [line | {"network": f"n{i}", "eps": x, "robust_accuracy": 1 - x} for i in range(25) for x in (0.0, 1.0)]
    curves.accuracy(pd.DataFrame(lines), axes)
    assert not axes.collections
    assert len(lines_of(axes)) == 25


def test_the_usual_eps_is_marked_where_the_axis_reaches_it(axes: Axes) -> None:
    line = {"network": "a", "norm": "linf", "attack": "best of all", "low": 0.0, "high": 1.0, "limit": 0.2}
    frame = pd.DataFrame([line | {"eps": x, "robust_accuracy": 1 - x} for x in (0.0, 0.15)])
    frame["usual_eps"] = [(0.3, 8 / 255)] * 2
    curves.accuracy(frame, axes)
    (mark,) = [line for line in axes.get_lines() if data(line)[0].tolist() == [8 / 255] * 2]
    assert str(mark.get_linestyle()) == "--"
    assert curves.usual_text(frame) == "usual eps: 8/255, 0.3 (beyond the axis)"
    assert curves.usual_text(frame.drop(columns="usual_eps")) == ""
    assert [handle.get_label() for handle in legends.marked(frame)] == ["a", curves.usual_text(frame)]


@pytest.mark.parametrize(("eps", "text"), [(8 / 255, "8/255"), (0.3, "0.3"), (2.0, "2"), (10.0, "10"), (4.0, "4")])
def test_an_eps_is_written_as_papers_do(eps: float, text: str) -> None:
    assert labels.eps_text(eps) == text


def test_an_axis_goes_on_to_the_usual_eps_if_that_is_near() -> None:
    run = synthetic.run(samples=25, seed=1)
    own = Frames(metrics.evidence(run.records(), run.manifest | {"data": {"name": "mnist"}}))
    for norm in (Norm.L2, Norm.LINF):
        plain, end = Frames(metrics.evidence(run.records(), run.manifest)).limit(norm), own.limit(norm)
        assert plain is not None
        assert end == max(
            [plain, *(1.04 * eps for eps in usual_eps("mnist", norm, synthetic.DIGITS) if eps <= 1.5 * plain)]
        )
    assert own["accuracy_curves"].groupby("norm")["usual_eps"].first().to_dict() == {
        "l0": (), "l2": (2.0,), "linf": (0.3, 0.1)
    }  # fmt: skip


def test_rows_say_what_has_no_place_in_a_density(axes: Axes) -> None:
    frame = pd.DataFrame(
        {"network": ["a"] * 7 + ["b"] * 3, "norm": "l2", "distance": [0, 0, 1, 2, 2.5, 3, np.inf, 1, 1, 1]}
    )
    distributions.rows(frame, axes)
    assert [text.get_text() for text in axes.texts] == ["a: 2 at 0 (misclassified), 1 not found", "b"]
    first, second = dots(axes)
    assert first[:, 0].tolist() == [0, 0, 1, 2, 2.5, 3]
    assert second[:, 0].tolist() == [1, 1, 1]
    assert axes.get_xlim()[0] < 0, "points at 0 are not cut"
    (density,) = [line for line in axes.get_lines() if len(data(line)[0]) == 60]
    assert data(density)[0].min() == 1, "misclassified images take no part in the density"


def test_whole_numbers_are_counted(axes: Axes) -> None:
    frame = pd.DataFrame({"network": "a", "norm": "l0", "distance": [0.0, 1, 1, 1, 2, 4]})
    distributions.rows(frame, axes)
    (bars,) = [item for item in axes.collections if isinstance(item, PolyCollection)]
    corners = [np.asarray(path.vertices) for path in bars.get_paths()]
    heights = {round(float(corner[:4, 0].mean())): float(np.ptp(corner[:, 1])) for corner in corners}
    assert set(heights) == {1, 2, 4}
    assert heights[2] / heights[1] == pytest.approx(1 / 3)
    assert axes.get_xlim()[1] > 4.5, "the last bar is not cut"
    assert all(tick == round(tick) for tick in axes.get_xticks())


def test_intervals_mark_the_medians_with_the_librarys_marker(frames: Frames, axes: Axes) -> None:
    frame = of_norm(frames["attack_intervals"])
    distributions.intervals(frame, axes)
    each = frame[frame["attack"] != ""]
    known = [line for line in axes.get_lines() if str(line.get_marker()) in set(each["library_marker"])]
    assert len(known) == len(each)
    expected = sorted(zip(each["median"], each["library_marker"], strict=True))
    drawn = sorted((float(data(line)[0][0]), str(line.get_marker())) for line in known)
    assert [marker for _, marker in drawn] == [marker for _, marker in expected]
    assert [median for median, _ in drawn] == pytest.approx([median for median, _ in expected])
    best = frames["networks"][lambda table: table["norm"] == "l2"]
    upright = [float(data(line)[0][0]) for line in axes.get_lines() if list(data(line)[1]) == [0, 1]]
    assert sorted(upright) == pytest.approx(sorted(best["median"])), "the best known are reference lines"
    bounds = [float(data(line)[0][0]) for line in axes.get_lines() if line.get_marker() is style.BOUND]
    assert sorted(bounds) == pytest.approx(sorted(best["certified"]))


def test_attacks_stand_best_first_and_one_method_together(frames: Frames) -> None:
    order = [name for name in dict.fromkeys(of_norm(frames["attack_intervals"])["attack"].astype(str)) if name]
    assert order[0] == "foolbox-reference-l2"
    assert {order[order.index("art-bb-l2") + step] for step in (-1, 1)} & {"foolbox-bb-l2"}
    assert order[-1] == "foolbox-hsj-l2"
    assert order == list(dict.fromkeys(of_norm(frames["attack_panels"])["attack"].astype(str)))
    numbers = of_norm(frames["cost"]).set_index("attack")["number"].to_dict()
    assert [numbers[name] for name in order] == list(range(1, len(order) + 1))


def test_an_infinite_median_is_an_open_arrow(axes: Axes) -> None:
    line = {"network": "MLP", "attack": "x", "label": "X", "library": "art", "norm": "l2"}
    frame = pd.DataFrame([line | {"q1": np.inf, "median": np.inf, "q3": np.inf}])
    distributions.intervals(frame, axes)
    (marker,) = axes.get_lines()
    assert (marker.get_marker(), marker.get_markerfacecolor()) == (">", "none")


def test_a_weak_attack_does_not_squeeze_the_good_ones(axes: Axes) -> None:
    line = {"network": "MLP", "library": "art", "norm": "l2"}
    good = line | {"attack": "good", "label": "Good", "q1": 1.0, "median": 1.5, "q3": 2.0}
    weak = line | {"attack": "weak", "label": "Weak", "q1": 80.0, "median": 90.0, "q3": 100.0}
    distributions.intervals(pd.DataFrame([good, weak]), axes)
    assert axes.get_xlim()[1] < 10
    arrow = axes.get_lines()[-1]
    assert (arrow.get_marker(), arrow.get_markerfacecolor()) == (">", arrow.get_color())
    assert [text.get_text() for text in axes.texts] == ["Good", "Weak"], (
        "names stand above the marks, and take no width"
    )


def test_an_attack_on_fewer_images_says_so(frames: Frames, axes: Axes) -> None:
    frame = of_norm(frames["attack_panels"])
    curves.by_attack(frame[frame["attack"] == "art-cw-l2"], axes)
    summary = frames["summary"]
    images = int(summary.loc[(summary["network"] == "MLP") & (summary["attack"] == "art-cw-l2"), "images"].iloc[0])
    assert [text.get_text() for text in axes.texts] == [f"{images} images"]
    profiles = of_norm(frames["profiles"]).drop_duplicates("attack").set_index("attack")
    label, pairs = (str(profiles.loc["art-cw-l2", name]) for name in ("label", "pairs"))
    assert label.endswith(f"{pairs} images")
    assert "art-cw-l2" not in curves.best_few(of_norm(frames["profiles"]))


def test_security_draws_the_envelope_below_every_attack(frames: Frames, axes: Axes) -> None:
    frame = of_norm(frames["security_curves"])
    curves.security(frame[frame["network"] == "CNN"], axes)
    bold = [line for line in axes.get_lines() if line.get_linewidth() > 2]
    assert len(bold) == 1
    x, y = data(bold[0])
    for line in axes.get_lines():
        place = np.searchsorted(data(line)[0], x, side="right") - 1
        assert (data(line)[1][np.clip(place, 0, len(data(line)[1]) - 1)] >= y - 1e-12).all()
    titles = set(frame["attack"])
    assert "art-cw-l2" not in titles, "an attack run on fewer images is of other images"
    written = {text.get_text() for text in axes.texts}
    assert written
    assert written <= {str(number) for number, *_ in legends.key(frame)}


def test_bracket_has_the_certified_curve_below(frames: Frames, axes: Axes) -> None:
    frame = of_norm(frames["bracket_curves"])
    curves.bracket(frame[frame["network"] == "MLP"], axes)
    found, certified = axes.get_lines()
    assert [str(line.get_label()) for line in (found, certified)] == ["best of all", "certified"]
    np.testing.assert_array_equal(found.get_xdata(), certified.get_xdata())
    assert (data(found)[1] >= data(certified)[1]).all()


def test_profiles_rise_on_a_scale_of_excesses(axes: Axes) -> None:
    line = {"norm": "l2", "attack": "x", "label": "X", "library": "art", "pairs": 4, "number": 1}
    steps = [(1.0, 0.25), (1.0005, 0.5), (1.1, 0.75), (40.0, 0.9)]
    curves.profile(pd.DataFrame([line | {"ratio": r, "fraction": f} for r, f in steps]), axes)
    x, y = data(axes.get_lines()[0])
    assert x[:-1].tolist() == pytest.approx([1e-3, 0.1, 9.0]), "0.1 % above is the same; ten times is the end"
    assert y.tolist() == [0.5, 0.75, 0.9, 0.9]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["≤0.1%", "1%", "10%"]


def test_the_best_few_have_colours_and_the_others_numbers() -> None:
    line = {"norm": "l2", "library": "art"}
    lines = [
        line
        | {
            "attack": f"a{i}",
            "label": f"A{i}",
            "number": i + 1,
            "pairs": 9,
            "ratio": 1 + i * step / 10,
            "fraction": step,
        }
        for i in range(9)
        for step in (0.5, 1.0)
    ]
    frame = pd.DataFrame(lines)
    assert list(curves.best_few(frame)) == [f"a{i}" for i in range(6)]
    assert [handle.get_label() for handle in legends.best_few(frame)] == [
        *(f"A{i}" for i in range(6)),
        "others, by number",
    ]
    assert legends.key_of_others(frame) == [(i + 1, f"A{i}", f"a{i}", "art") for i in range(6, 9)]


def test_duels_have_a_point_for_each_image(axes: Axes) -> None:
    pairs = [(1.0, 2.0), (3.0, 1.0), (3.0, 1.0), (0.0, 2.0), (2.0, np.inf), (2.0, 2.0)]
    frame = pd.DataFrame(pairs, columns=["distance_a", "distance_b"]).assign(network_a="A", network_b="B", norm="l2")
    comparisons.duels(frame, axes)
    low, high = axes.get_xlim()
    assert axes.get_ylim() == (low, high)
    points = np.concatenate(dots(axes))
    assert len(points) == 5, "two images coincide"
    assert ((points > low) & (points < high)).all(), "nothing is cut"
    assert [text.get_text() for text in axes.texts] == ["A larger: 33%", "B larger: 50%"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "1", "2", "none"]


def test_a_pair_of_networks_is_hidden_with_either() -> None:
    pairs = {"network_a": "A<b>", "network_b": "B$", "distance_a": [1.0, 2.0], "distance_b": [2.0, 1.0], "norm": "l2"}
    frame = pd.DataFrame(pairs).assign(pair="A against B")
    with plots.drawing():
        root = ET.fromstring(plots.inline(plots.figure(plots.PLOTS["duels"], frame), prefix="x", label="x"))
    (outer,) = [element for element in root.iter() if element.get("data-network") == "A<b>"][:1]
    inner = next(iter(outer))
    assert inner.get("data-network") == "B$"
    assert len(list(inner.iter())) > 20


def test_library_ratios_are_symmetric_and_end_at_a_round_number(axes: Axes) -> None:
    line = {"network": "N", "norm": "l2", "pair": "x", "label": "X: A / B", "attack_a": "a-x", "attack_b": "b-x"}
    line |= {"library_a": "a", "library_b": "b"}
    values = [(1.0, 1.0), (1.02, 1.0), (1.0, 1.03), (1.01, 1.0)]
    frame = pd.DataFrame([line | {"distance_a": a, "distance_b": b} for a, b in values])
    comparisons.library_ratios(frame, axes)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["≤ -5%", "-2.5%", "same", "+2.5%", "≥ +5%"]
    (points,) = dots(axes)
    np.testing.assert_allclose(points[:, 0], np.sort([a / b for a, b in values]))
    far = frame.assign(distance_a=[1.0, np.inf, 3.0, np.inf], distance_b=[np.inf, 1.0, 1.0, np.inf])
    comparisons.library_ratios(far, axes)
    assert dots(axes)[-1][:, 0].tolist() == [0.25, 1.0, 3.0, 4.0]


def test_contributions_are_bars_and_a_line(axes: Axes) -> None:
    line = {"norm": "l2", "library": "art", "pairs": 10}
    first = line | {"attack": "a", "label": "A", "reaches": 0.8, "alone": 0.3, "together": 0.8}
    second = line | {"attack": "b", "label": "B", "reaches": 0.5, "alone": 0.0, "together": 0.9}
    comparisons.contributions(pd.DataFrame([first, second]), axes)
    widths = [round(float(bar.get_width()), 9) for bar in axes.patches if isinstance(bar, Rectangle)]
    assert widths == [0.8, 0.3, 0.5]
    assert data(axes.get_lines()[0])[0].tolist() == [0.8, 0.9]


def test_every_attack_has_its_number_at_its_cost(frames: Frames) -> None:
    frame = of_norm(frames["cost"])
    for name in ("costs", "passes"):
        with plots.drawing():
            drawn = plots.figure(plots.PLOTS[name], frame)
        assert len({axes.get_xlim() for axes in drawn.axes}) == 1
        assert len({axes.get_ylim() for axes in drawn.axes}) == 1
        for axes, network in zip(drawn.axes, NETWORKS, strict=True):
            own = frame[frame["network"] == network]
            known = own[np.isfinite(own["ratio"])]
            assert sorted(text.get_text() for text in axes.texts) == sorted(known["number"].astype(str))
        shown = {text.get_text() for text in drawn.texts}
        assert {f"{number}  {label}" for number, label, *_ in legends.key(frame)} <= shown


def test_names_find_room_without_covering_one_another(axes: Axes) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1))
    points = np.array([[0.5, 0.5], [0.5, 0.5], [0.5, 0.51], [0.99, 0.99], [0.01, 0.01]])
    room = labels.Room(axes, points)
    places = [room.place((float(x), float(y)), "12") for x, y in points]
    assert all(place is not None for place in places)
    assert len(set(places[:3])) == 3


def test_of_many_classes_those_with_the_most_images_have_a_cell(axes: Axes) -> None:
    lines = [
        {"network": "a", "norm": "l2", "label": label, "images": 1 + label % 7, "median": 1.0 + label, "classes": 1000}
        for label in range(0, 1000, 10)
    ]
    frame = pd.DataFrame(lines).assign(**{"class": lambda table: "class " + table["label"].astype(str)})
    classes.medians(frame, axes)
    shown = [label.get_text().partition(" (")[0] for label in axes.get_xticklabels()]
    assert len(shown) == classes.MOST
    assert all(name.startswith("class ") for name in shown)
    assert frame.set_index("class").loc[shown, "images"].min() == 6


def test_a_class_without_images_keeps_its_column_and_says_so(axes: Axes) -> None:
    frame = pd.DataFrame(
        {"network": "a", "norm": "l2", "label": [0, 2], "images": 3, "median": [120.0, 0.5], "classes": 4}
    )
    classes.medians(frame.assign(class_names=pd.Series([("cat", "dog", "eel", "fox")] * 2)), axes)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0\n(3)", "dog\n(0)", "2\n(3)", "fox\n(0)"]
    assert [text.get_text() for text in axes.texts] == ["120.0", "0.5", "a"]


def test_class_cells_have_one_notation_and_a_scale(axes: Axes) -> None:
    frame = pd.DataFrame(
        {"network": "a", "norm": "l2", "label": range(4), "images": 1, "median": [1.1, 0.04, 0.86, np.inf]}
    )
    classes.medians(frame, axes)
    assert [text.get_text() for text in axes.texts] == ["1.10", "0.04", "0.86", "none", "a"]
    scale = [handle.get_label() for handle in classes.medians_scale(frame)]
    assert scale == ["≤ 0.22", "to 0.44", "to 0.66", "to 0.88", "to 1.10"]


def test_class_changes_are_counted(axes: Axes) -> None:
    line = {"network": "a", "norm": "l2", "classes": 3}
    frame = pd.DataFrame(
        [
            line | {"label": 0, "adversarial_class": 1, "images": 2},
            line | {"label": 0, "adversarial_class": 2, "images": 1},
        ]
    )
    classes.changes(frame, axes)
    assert [text.get_text() for text in axes.texts] == ["2", "1"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0 (3)", "1 (0)", "2 (0)"]


def test_class_medians_hold_the_medians(frames: Frames, axes: Axes) -> None:
    frame = of_norm(frames["class_medians"])
    classes.medians(frame, axes)
    assert len(axes.texts) == len(frame) + len(NETWORKS)
    assert [text.get_text() for text in axes.texts if text.get_text() in NETWORKS] == list(NETWORKS)


@pytest.mark.parametrize("name", sorted(plots.PLOTS))
def test_every_plot_draws_a_figure_that_lives_in_a_page(frames: Frames, name: str) -> None:
    plot = plots.PLOTS[name]
    frame = of_norm(frames[plot.metric])
    with plots.drawing():
        text = plots.inline(plots.figure(plot, frame), prefix=f"f-{name}", label='a "label" <b>')
        again = plots.inline(plots.figure(plot, frame), prefix=f"f-{name}", label='a "label" <b>')
    assert text == again, "the same figure is the same text"
    root = ET.fromstring(text)
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'a "label" <b>'
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert all(str(one).startswith(f"f-{name}-") for one in ids)
    assert len(ids) == len(set(ids))
    for reference in re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text):
        assert (reference[0] or reference[1]) in ids
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]+"', "", text), "nothing is asked for from anywhere"
    networks = {element.get("data-network") for element in root.iter()} - {None}
    if name not in ("profiles", "exact", "contributions"):
        assert networks == set(NETWORKS)
    attacks = {element.get("data-attack") for element in root.iter()} - {None}
    if "attack" in frame and name not in ("accuracy", "bracket", "rows"):
        assert attacks == set(frame["attack"].astype(str)) - {"", "best of all"}
    for column in plot.columns:
        assert column in frame.columns


def test_a_plot_and_a_metric_are_an_entry_each(monkeypatch: pytest.MonkeyPatch) -> None:
    def spread(evidence: metrics.Evidence) -> pd.DataFrame:
        groups = evidence.best.groupby(["network", "norm"], observed=True)["distance"]
        return groups.agg(lambda values: values.max() - values.min()).rename("spread").reset_index()

    def draw(frame: pd.DataFrame, axes: Axes) -> Axes:
        axes.bar(frame["network"].astype(str), frame["spread"])
        return axes

    plot = plots.Plot(title="{norm}: spread", caption="Largest less smallest.", metric="spread", draw=draw)
    monkeypatch.setitem(metrics.METRICS, "spread", spread)
    monkeypatch.setitem(plots.PLOTS, "spread", plot)
    source = sources.single(synthetic.run(suite=TWO, networks=("MLP", "CNN"), samples=6, seed=1))
    frames, found = report.prepared(source)
    page = report.page_of(source, frames, found)
    assert 'id="spread-l2"' in page
    assert 'id="table-spread"' in page
    assert "Further metrics and figures" in page
    content = json.loads(exports.summary_json(frames, source.manifest, found))
    assert len(content["further"]["spread"]) == 2 * 2


def test_three_libraries_have_a_strip_for_each_pair() -> None:
    rows = [synthetic.attack(synthetic.DEEPFOOL, Norm.L2, library) for library in ("art", "foolbox", "third")]
    rows.append(synthetic.attack(synthetic.DEEPFOOL, Norm.L2, "paper", origin=Origin.PORT))
    suite = Suite(name="three", description="", rows=tuple(rows), samples=8)
    run = synthetic.run(suite=suite, networks=("MLP",), samples=8)
    frames = Frames(metrics.evidence(run.records(), run.manifest))
    with plots.drawing():
        drawn = plots.figure(plots.PLOTS["libraries"], frames["library_pairs"])
    assert [text.get_text() for text in drawn.axes[0].texts] == [
        "DeepFool: ART / Foolbox",
        "DeepFool: ART / third",
        "DeepFool: Foolbox / third",
    ]


@pytest.mark.parametrize("name", ["$x^2$", "_hidden", 'a"b<c>&d', "ü" * 40, "a (b)"])
def test_any_network_name_is_drawn_as_it_is(name: str) -> None:
    frame = pd.DataFrame(
        {
            "network": name,
            "norm": "l2",
            "attack": "best",
            "eps": [0.0, 1.0],
            "robust_accuracy": [1.0, 0.0],
            "low": 0.0,
            "high": 1.0,
        }
    )
    with plots.drawing():
        text = plots.inline(plots.figure(plots.PLOTS["accuracy"], frame), prefix="x", label=name)
    root = ET.fromstring(text)
    assert name in {element.get("data-network") for element in root.iter()}
    assert any((element.text or "").strip() == name for element in root.iter())


def test_panels_are_as_many_as_there_are_values(frames: Frames) -> None:
    plot = plots.PLOTS["per_attack"]
    frame = of_norm(frames[plot.metric])
    with plots.drawing():
        drawn = plots.figure(plot, frame, titles={"foolbox-reference-l2": "DDN"}, limit=2.0)
    shown = [axes for axes in drawn.axes if axes.get_visible()]
    assert len(shown) == frame["attack"].nunique()
    assert shown[0].get_title(loc="left") == "DDN", "the best attack comes first"
    assert {axes.get_xlim() for axes in shown} == {(0.0, 2.0)}


ONE = Suite(name="one", description="", rows=(synthetic.attack(synthetic.HSJ, Norm.L2),), samples=6)
TWO = Suite(
    name="two",
    description="",
    rows=(
        *(
            synthetic.attack(synthetic.BB, norm, library)
            for norm in (Norm.L0, Norm.L2)
            for library in ("art", "foolbox")
        ),
        synthetic.verifier(Norm.L2),
    ),
    samples=6,
)


def nothing_found(frame: pd.DataFrame) -> pd.DataFrame:
    frame["status"] = (
        frame["status"].astype(str).where(frame["status"] == "misclassified", "not_found").astype("category")
    )
    frame.loc[frame["status"] == "not_found", [*(norm.value for norm in Norm), "pixels"]] = np.inf
    return frame


def all_wrong(frame: pd.DataFrame) -> pd.DataFrame:
    frame["status"] = pd.Categorical(["misclassified"] * len(frame))
    frame[[*(norm.value for norm in Norm), "pixels", "lower"]] = 0.0
    return frame


def odd(
    name: str, change: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame, **options: Any
) -> tuple[str, Callable[[pd.DataFrame], pd.DataFrame], dict[str, Any]]:
    return name, change, options


LONG = ("$x^2$ <b>", "_hidden", "n" * 60)


@pytest.mark.parametrize(
    ("name", "change", "options"),
    [
        odd("one network, one attack, one image", suite=ONE, networks=("one",), samples=1),
        odd("all misclassified", all_wrong, suite=TWO, samples=5),
        odd("nothing found", nothing_found, suite=TWO, samples=5),
        odd("two classes, boxes of their own", suite=TWO, samples=8, domain=synthetic.FEATURES, networks=("a", "b")),
        odd("channels, long and odd names", suite=TWO, samples=6, domain=synthetic.COLOURS, networks=LONG),
        odd("many networks", suite=ONE, samples=4, networks=tuple(f"network {i}" for i in range(25))),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_any_run_can_be_drawn(
    name: str, change: Callable[[pd.DataFrame], pd.DataFrame], options: dict[str, Any]
) -> None:
    run = synthetic.run(seed=3, **options)
    frames = Frames(metrics.evidence(change(run.records()), run.manifest))
    drawn = 0
    for plot in plots.PLOTS:
        for group in figures.figures(plot, frames):
            for one in group.figures:
                ET.fromstring(one.svg)
                assert "nan" not in re.sub(r"data-\w+=\"[^\"]*\"|aria-label=\"[^\"]*\"|>[^<]*<", "", one.svg), (
                    name,
                    plot,
                )
                drawn += 1
    assert drawn >= 3


def test_paths_are_short_and_say_the_same() -> None:
    assert svg._path("M 0 0 L 10 0 L 10 5 L 10 5 L 3.14159 2 z") == "M0 0H10V5L3.14 2z"
    assert svg._path("M 1 2 L 1 2 M 3 4 L 3 4") == "M1 2h0M3 4h0", "a dot is a line of no length with round ends"
    assert svg._path("M -0.001 2 C 1 2 3 4 5 6") == "M0 2C1 2 3 4 5 6"
    assert svg._path("M 0 0 A 1 1 0 0 0 1 1") == "M 0 0 A 1 1 0 0 0 1 1"


def test_points_are_drawn_in_pictures_as_in_pages() -> None:
    with plots.drawing():
        figure = Figure(figsize=(2, 2), dpi=50)
        axes = figure.subplots()
        axes.set(xlim=(-1, 1), ylim=(-1, 1))
        axes.set_axis_off()
        style.dots(axes, [0.0, 0.5], [0.0, 0.5], "#0072b2", size=8, alpha=1)
        text = plots.inline(figure, prefix="x", label="x")
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    assert (np.asarray(canvas.buffer_rgba())[..., 3] > 0).sum() > 30
    assert text.count("h0") == 2


def test_marks_that_look_alike_share_their_style() -> None:
    with plots.drawing():
        figure = Figure()
        figure.subplots().plot([1, 2, 3], [1, 2, 3], marker="o", linestyle="none", color=style.PAPER)
        root = ET.fromstring(plots.inline(figure, prefix="x", label="x"))
    groups = [element for element in root.iter() if len(element) == 3 and all(c.tag.endswith("use") for c in element)]
    assert "var(--c-fefefe, #fefefe)" in str(groups[0].get("style"))
    assert all(child.get("style") is None for child in groups[0])
