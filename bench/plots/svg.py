"""A figure as SVG that lives inside a page: small, reproducible, in the page's colours and font."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree as ET

from matplotlib.figure import Figure

from bench.plots.style import DARK

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_TAG = re.compile(r"tag-((?:\w+\.[0-9a-f]*-?)+)")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_NUMBER = re.compile(r"(\d+\.\d{2})\d+")


def inline(figure: Figure, *, prefix: str, label: str) -> str:
    """A figure as an ``<svg>`` element for HTML.

    Args:
        figure: made under :func:`bench.plots.style.drawing`.
        prefix: put before every id, so that several figures fit into one page; letters, digits and hyphens.
        label: what the figure shows, for those who cannot see it.

    Returns:
        The element; colours are CSS variables (``--c-0072b2``) with the drawn colour as fallback, and what was drawn
        under ``tagged`` carries ``data-network`` and the like.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _XLINK)
    root = ET.fromstring(buffer.getvalue())  # noqa: S314 - it is Matplotlib's own output
    for metadata in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(metadata)
    names: dict[str, str] = {}
    used = {
        reference
        for element in root.iter()
        for value in element.attrib.values()
        for reference in [*_REFERENCE.findall(value), *([value[1:]] if value.startswith("#") else [])]
    }
    for element in root.iter():
        name = element.get("id")
        if name is None:
            continue
        match = _TAG.match(name)
        if match:
            for part in match[1].strip("-").split("-"):
                key, _, value = part.partition(".")
                element.set(f"data-{key}", bytes.fromhex(value).decode())
        if name in used:
            names[name] = f"{prefix}-{len(names)}"
            element.set("id", names[name])
        else:
            del element.attrib["id"]
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            element.set(key, _value(key, value, names))
    width, height = root.attrib.pop("width"), root.attrib.pop("height")
    root.attrib.pop("version", None)
    size = float(width.removesuffix("pt")), float(height.removesuffix("pt"))
    root.set("style", f"aspect-ratio:{size[0]:.0f}/{size[1]:.0f};width:{size[0] * 4 / 3:.0f}px")
    root.set("preserveAspectRatio", "xMinYMin meet")
    root.set("role", "img")
    root.set("aria-label", label)
    text = ET.tostring(root, encoding="unicode")
    return re.sub(r">\s+<", "><", text)


def _value(key: str, value: str, names: dict[str, str]) -> str:
    if key == f"{{{_XLINK}}}href" and value[1:] in names:
        return "#" + names[value[1:]]
    if key in ("d", "points"):
        return re.sub(r"\s+", " ", _NUMBER.sub(r"\1", value)).strip()
    if key in ("clip-path", "style", "fill", "stroke"):
        value = _REFERENCE.sub(lambda match: f"url(#{names.get(match[1], match[1])})", value)
        value = re.sub(r"(font(?:-family)?:[^;']*?)'[^;]*", r"\1sans-serif", value)
        return re.sub(r"#[0-9a-f]{6}\b", lambda match: variable(match[0]), value)
    return value


def variable(colour: str) -> str:
    """A drawn colour as a CSS variable with itself as fallback, if the dark style has another for it."""
    return f"var(--c-{colour[1:]}, {colour})" if colour in DARK else colour
