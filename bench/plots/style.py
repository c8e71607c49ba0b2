"""How things look: one colour and dash per network, one marker per library, by their place in the run."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import ArrayLike

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
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*", "h", "<", ">", "p")


BOUND = Path([(0, -1), (0, 1), (0, 0), (1, 0)], [Path.MOVETO, Path.LINETO, Path.MOVETO, Path.LINETO])
"""The marker of a lower bound: the truth is here or further on."""


@dataclass(frozen=True, slots=True)
class NetworkStyle:
    """How a network is drawn: colour, and a dash or a marker that tells it from others without colour."""

    colour: str
    dash: Any
    marker: str = "o"


def network_styles(names: Iterable[str]) -> dict[str, NetworkStyle]:
    """A style for each network, by its place among the networks of a run; all 32 combinations before one comes again."""
    return {
        name: NetworkStyle(
            _COLOURS[place % len(_COLOURS)],
            _DASHES[(place + place // len(_COLOURS)) % len(_DASHES)],
            _MARKERS[place % len(_MARKERS)],
        )
        for place, name in enumerate(dict.fromkeys(names))
    }


@dataclass(frozen=True, slots=True)
class LibraryStyle:
    """How a library is drawn: its marker, the dash of its lines, and its colour where no network has one."""

    marker: str
    dash: Any
    colour: str


def library_styles(markers: Mapping[str, str]) -> dict[str, LibraryStyle]:
    """A style for each library of a run.

    Args:
        markers: library -> the marker that it asks for, in the order of the run; empty for any. The first to ask for a
            marker gets it; what is left is given out in order, and only where there are more libraries than markers
            does one come again.
    """
    given: dict[str, str] = {}
    for name, marker in markers.items():
        if marker and marker not in given.values():
            given[name] = marker
    free = itertools.chain((marker for marker in _MARKERS if marker not in given.values()), itertools.cycle(_MARKERS))
    return {
        name: LibraryStyle(
            given.get(name) or next(free), _DASHES[place % len(_DASHES)], _COLOURS[-1 - place % len(_COLOURS)]
        )
        for place, name in enumerate(markers)
    }


def looks(frame: pd.DataFrame, column: str) -> list[str]:
    """The names of a column, those of its categories where it has some: so every panel of a report knows them all."""
    values = frame[column]
    names = values.cat.categories if isinstance(values.dtype, pd.CategoricalDtype) else values.unique()
    return [str(name) for name in names]


def of_networks(frame: pd.DataFrame) -> dict[str, NetworkStyle]:
    """The styles of a frame's networks, by its column ``network``."""
    return network_styles(looks(frame, "network"))


def of_libraries(frame: pd.DataFrame) -> dict[str, LibraryStyle]:
    """The styles of a frame's libraries, by its columns ``library`` and, where there is one, ``library_marker``."""
    names = [name for name in looks(frame, "library") if name]
    markers = dict.fromkeys(names, "")
    if "library_marker" in frame:
        known = frame.drop_duplicates("library")
        markers |= {str(n): str(m) for n, m in zip(known["library"], known["library_marker"], strict=True) if n}
    return library_styles(markers)


class Shown(Figure):
    """A figure that a notebook shows on paper, also where nobody imported pyplot and the notebook is dark."""

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        with drawing():
            self.savefig(content, format="png", dpi=144, facecolor=PAPER)
        return content.getvalue()


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
    # Not what a program or a user's file has set: the same figure everywhere.
    usual = {
        name: value for name, value in mpl.rcParamsDefault.items() if not name.startswith(("backend", "date.epoch"))
    }
    with mpl.rc_context(usual | settings):
        yield


@contextmanager
def tagged(axes: Axes, **tags: str | Sequence[str]) -> Iterator[None]:
    """Mark all that is drawn meanwhile with names (network, attack, library), by which a page can hide it.

    Of several names under one key, hiding any hides it.
    """
    before = set(axes.get_children())
    yield
    for artist in axes.get_children():
        if artist not in before:
            artist.set_gid(tag(**tags))


def tag(**tags: str | Sequence[str]) -> str:
    """Names as an SVG id; :func:`bench.plots.svg.inline` turns it into ``data-`` attributes."""
    pairs = [
        (key, one) for key, names in sorted(tags.items()) for one in ([names] if isinstance(names, str) else names)
    ]
    return "tag-" + "-".join(f"{key}.{name.encode().hex()}" for key, name in pairs if name)


def dots(
    axes: Axes, x: ArrayLike, y: ArrayLike, colour: str, *, size: float = 3.0, alpha: float = 0.6, zorder: float = 2.0
) -> None:
    """Round points of one colour as a single path: a tenth of the bytes of a marker each.

    Args:
        axes: to draw on.
        x, y: (n,) in data coordinates.
        colour: of all of them.
        size: their diameter in printer's points.
        alpha: their opacity.
        zorder: as of any artist.
    """
    places = np.column_stack([np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)])
    if not len(places):
        return
    # Each is a line with round ends. In an SVG it may have no length; on a screen or in a PNG such a line is not drawn.
    ends = np.where(places == 0, 1e-9, places * (1 + 1e-7))
    path = Path(np.hstack([places, ends]).reshape(-1, 2), np.tile([Path.MOVETO, Path.LINETO], len(places)))
    path.should_simplify = False
    axes.add_patch(
        PathPatch(
            path,
            fill=False,
            capstyle="round",
            linewidth=size,
            edgecolor=colour,
            alpha=alpha,
            zorder=zorder,
            snap=False,
        )
    )
