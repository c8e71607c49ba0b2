"""How things look: one colour and dash per network, one marker per library, by name and never by order of drawing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes

INK, MUTED, RULE, PAPER = "#1d2433", "#5b6577", "#d5dae3", "#fefefe"
"""Text and axes, secondary text, grid lines, background: a page may give each another colour in its dark style."""

DARK = {
    INK: "#e8ebf1", MUTED: "#a3adbd", RULE: "#39424f", PAPER: "#14181f",
    "#0072b2": "#56a9e8", "#d55e00": "#ff8f4a", "#00926a": "#35c495", "#6a1b5a": "#f7b6e3",
    "#8a6d00": "#e0b93f", "#6a51a3": "#b3a0ec", "#8c510a": "#d0a070", "#3d7080": "#7fbccd",
}  # fmt: skip
"""The colour that stands for each drawn colour in the dark style."""

_COLOURS = ("#0072b2", "#d55e00", "#00926a", "#6a1b5a", "#8a6d00", "#6a51a3", "#8c510a", "#3d7080")
_DASHES: tuple[Any, ...] = ("solid", (0, (6, 2)), (0, (6, 2, 1.2, 2)), (0, (1.4, 1.4)))
_KNOWN = {"MLP": 0, "MLP_d": 1, "CNN": 2, "CNN_d": 3}
_MARKERS = {"art": "s", "foolbox": "o", "certify": "^"}
_OTHER_MARKERS = ("D", "v", "P", "X", "*", "h")


@dataclass(frozen=True, slots=True)
class NetworkStyle:
    """How a network is drawn: colour, and a dash by which its lines are told apart without colour."""

    colour: str
    dash: Any


def network_styles(names: Iterable[str]) -> dict[str, NetworkStyle]:
    """A style for each network, the same for the same name in every report.

    The four networks of the bench have fixed styles; ``MLP (run)``, as pages of several runs call them, has that of
    ``MLP`` where no other network of the page does. Any other name picks one by its hash; only where two names of one
    report would pick the same does the later in the alphabet take the next free one.
    """
    wanted = list(names)
    total = len(_COLOURS) * len(_DASHES)
    taken = {_KNOWN[name]: name for name in wanted if name in _KNOWN}
    for name in sorted(set(wanted) - set(_KNOWN)):
        if _base(name) in _KNOWN:
            taken.setdefault(_KNOWN[_base(name)], name)
    colours = {slot % len(_COLOURS) for slot in taken}
    for name in sorted(set(wanted) - set(taken.values())):
        start = int(hashlib.sha256(name.encode()).hexdigest(), 16) % total
        slots = [(start + step) % total for step in range(total)]
        free = [slot for slot in slots if slot not in taken] or slots
        new = [slot for slot in free if slot % len(_COLOURS) not in colours] or free
        taken[new[0]] = name
        colours.add(new[0] % len(_COLOURS))
    slots_of = {name: slot for slot, name in taken.items()}
    return {
        name: _style(slots_of.get(name, 0), known=_KNOWN.get(_base(name)) == slots_of.get(name, 0)) for name in wanted
    }


def _base(name: str) -> str:
    """A network's name without the run that a page of several runs puts behind it."""
    return name.partition(" (")[0]


def _style(slot: int, *, known: bool) -> NetworkStyle:
    dash = slot if known else slot // len(_COLOURS)
    return NetworkStyle(_COLOURS[slot % len(_COLOURS)], _DASHES[dash % len(_DASHES)])


def library_marker(library: str) -> str:
    """The marker of a library: the same for the same name in every report."""
    if library in _MARKERS:
        return _MARKERS[library]
    return _OTHER_MARKERS[int(hashlib.sha256(library.encode()).hexdigest(), 16) % len(_OTHER_MARKERS)]


def library_dash(library: str) -> Any:
    """The dash of a library's lines where colour is taken: solid for Foolbox, dashed for any other."""
    return "solid" if library == "foolbox" else (0, (4, 2))


@contextmanager
def drawing() -> Iterator[None]:
    """Matplotlib's settings for every figure of the bench; text stays text, and the same figure is the same file."""
    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "minimal-norm-bench",
        "text.parse_math": False,  # a dollar sign in a name is a dollar sign
        "font.family": "sans-serif",
        "font.size": 9.5,
        "text.color": INK,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 9.5,
        "axes.facecolor": "none",
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": RULE,
        "grid.linewidth": 0.7,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "legend.handlelength": 2.6,
        "figure.facecolor": "none",
        "savefig.facecolor": "none",
        "lines.linewidth": 1.8,
    }
    with mpl.rc_context(settings):
        yield


@contextmanager
def tagged(axes: Axes, **tags: str) -> Iterator[None]:
    """Mark all that is drawn meanwhile with names (network, attack, library), by which a page can hide it."""
    before = set(axes.get_children())
    yield
    for artist in axes.get_children():
        if artist not in before:
            artist.set_gid(tag(**tags))


def tag(**tags: str) -> str:
    """Names as an SVG id; :func:`bench.plots.svg.inline` turns it into ``data-`` attributes."""
    parts = [f"{key}.{value.encode().hex()}" for key, value in sorted(tags.items()) if value]
    return "tag-" + "-".join(parts)
