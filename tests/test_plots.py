"""Plots: what lines, points and labels hold, and that looks go by name."""

from __future__ import annotations

import itertools
import json
import re
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest
import synthetic
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from bench import metrics, plots, report
from bench.norms import Norm
from bench.plots import comparisons, distributions, style
from bench.report import exports, sources
from bench.report.frames import Frames
from bench.specs import Origin, Suite

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


def test_cumulative_lines_hold_the_shares(frames: Frames, axes: Axes) -> None:
    frame = of_norm(frames["best_curves"])
    distributions.cumulative(frame, axes)
    lines = {str(line.get_label()): line for line in axes.get_lines()}
    assert tuple(lines) == NETWORKS
    looks = style.network_styles(NETWORKS)
    best = frames.evidence.best
    for name, line in lines.items():
        own = best[(best["network"] == name) & (best["norm"] == "l2")]["distance"].to_numpy()
        x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        np.testing.assert_allclose(y, [(own <= eps).mean() for eps in x], atol=1e-12)
        assert to_hex(str(line.get_color())) == looks[name].colour
    assert axes.get_xlabel().startswith("L2 distance")


def test_violins_say_how_many_were_not_found(axes: Axes) -> None:
    frame = pd.DataFrame({"network": ["a"] * 5 + ["b"] * 3, "norm": "l2", "distance": [1, 2, 3, 4, np.inf, 1, 1, 1]})
    distributions.violins(frame, axes)
    assert [text.get_text() for text in axes.texts] == ["1 not found"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b"]


def test_intervals_mark_the_medians_with_the_librarys_marker(frames: Frames, axes: Axes) -> None:
    frame = of_norm(frames["summary"])
    distributions.intervals(frame, axes)
    markers = [line for line in axes.get_lines() if str(line.get_marker()) != "None"]
    assert len(markers) == len(frame)
    expected = sorted(zip(frame["median"], frame["library_marker"], strict=True))
    drawn = sorted((float(np.asarray(line.get_xdata())[0]), str(line.get_marker())) for line in markers)
    assert [marker for _, marker in drawn] == [marker for _, marker in expected]
    assert [median for median, _ in drawn] == pytest.approx([median for median, _ in expected])


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


def test_an_attack_on_fewer_images_says_so_in_its_panel(frames: Frames, axes: Axes) -> None:
    frame = of_norm(frames["attack_panels"])
    capped = frame[frame["attack"] == "art-cw-l2"]
    distributions.cumulative_lines(capped, axes)
    summary = frames["summary"]
    images = int(summary.loc[(summary["network"] == "MLP") & (summary["attack"] == "art-cw-l2"), "images"].iloc[0])
    assert [text.get_text() for text in axes.texts] == [f"{images} images"]


def test_security_draws_the_envelope_below_every_attack(frames: Frames, axes: Axes) -> None:
    frame = of_norm(frames["security_curves"])
    distributions.security(frame[frame["network"] == "CNN"], axes)
    bold = [line for line in axes.get_lines() if line.get_linewidth() > 2]
    assert len(bold) == 1
    x, y = (np.asarray(data) for data in (bold[0].get_xdata(), bold[0].get_ydata()))
    for line in axes.get_lines():
        other = np.asarray(line.get_ydata())
        place = np.searchsorted(np.asarray(line.get_xdata()), x, side="right") - 1
        assert (other[np.clip(place, 0, len(other) - 1)] >= y - 1e-12).all()
    titles = set(frame["attack"])
    assert "art-cw-l2" not in titles, "an attack run on fewer images is of other images"


def test_bracket_has_the_certified_curve_below(frames: Frames, axes: Axes) -> None:
    frame = of_norm(frames["bracket_curves"])
    comparisons.bracket(frame[frame["network"] == "MLP"], axes)
    found, certified = axes.get_lines()
    assert [str(line.get_label()) for line in (found, certified)] == ["best attack", "certified"]
    np.testing.assert_array_equal(found.get_xdata(), certified.get_xdata())
    assert (np.asarray(found.get_ydata()) >= np.asarray(certified.get_ydata())).all()


def test_ratios_stand_at_the_edge_beyond_the_limit(axes: Axes) -> None:
    line = {"network": "MLP", "attack": "x", "label": "X", "library": "art", "norm": "l2"}
    frame = pd.DataFrame([line | {"ratio": ratio} for ratio in (1.0, 2.0, np.inf)])
    comparisons.ratios(frame, axes)
    points = axes.get_lines()[0]
    assert np.asarray(points.get_xdata()).tolist() == [1.0, 2.0, comparisons.RATIO_LIMIT]


def test_of_many_classes_those_with_the_most_images_have_a_cell(axes: Axes) -> None:
    lines = [
        {"network": "a", "norm": "l2", "label": label, "images": 1 + label % 7, "median": 1.0 + label, "classes": 1000}
        for label in range(0, 1000, 10)
    ]
    frame = pd.DataFrame(lines).assign(**{"class": lambda table: "class " + table["label"].astype(str)})
    comparisons.class_heat(frame, axes)
    shown = [label.get_text() for label in axes.get_xticklabels()]
    assert len(shown) == comparisons.CLASSES
    assert all(name.startswith("class ") for name in shown)
    assert frame.set_index("class").loc[shown, "images"].min() == 6


def test_a_class_without_images_keeps_its_column(axes: Axes) -> None:
    frame = pd.DataFrame(
        {"network": "a", "norm": "l2", "label": [0, 2], "images": 3, "median": [120.0, 0.5], "classes": 4}
    )
    comparisons.class_heat(frame, axes)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "2", "3"]
    assert [text.get_text() for text in axes.texts] == ["120", "0.5"]


def test_class_heat_holds_the_medians(frames: Frames, axes: Axes) -> None:
    frame = of_norm(frames["class_medians"])
    comparisons.class_heat(frame, axes)
    assert len(axes.texts) == np.isfinite(frame["median"]).sum()
    assert [label.get_text() for label in axes.get_yticklabels()] == list(NETWORKS)


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
    if name not in ("class_medians", "class_changes"):
        assert networks == set(NETWORKS)
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
    source = sources.single(synthetic.run(samples=6, seed=1))
    frames, found = report.prepared(source)
    page = report.page_of(source, frames, found)
    assert 'id="spread-l2"' in page
    assert 'id="table-spread"' in page
    assert "Further metrics and figures" in page
    content = json.loads(exports.summary_json(frames, source.manifest, found))
    assert len(content["further"]["spread"]) == 4 * 3


def test_three_libraries_have_a_panel_for_each_pair() -> None:
    rows = [synthetic.attack(synthetic.DEEPFOOL, Norm.L2, library) for library in ("art", "foolbox", "third")]
    rows.append(synthetic.attack(synthetic.DEEPFOOL, Norm.L2, "paper", origin=Origin.PORT))
    suite = Suite(name="three", description="", rows=tuple(rows), samples=8)
    run = synthetic.run(suite=suite, networks=("MLP",), samples=8)
    frames = Frames(metrics.evidence(run.records(), run.manifest))
    pairs = frames["library_pairs"]
    assert pairs["pair"].unique().tolist() == [
        "DeepFool: ART and Foolbox",
        "DeepFool: ART and third",
        "DeepFool: Foolbox and third",
    ]
    with plots.drawing():
        drawn = plots.figure(plots.PLOTS["libraries"], pairs)
    assert [axes.get_xlabel() for axes in drawn.axes if axes.get_visible()] == [
        "ART distance",
        "ART distance",
        "Foolbox distance",
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
        text = plots.inline(plots.figure(plots.PLOTS["cumulative"], frame), prefix="x", label=name)
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
    assert "DDN" in {axes.get_title(loc="left") for axes in shown}
    assert {axes.get_xlim() for axes in shown} == {(0.0, 2.0)}
