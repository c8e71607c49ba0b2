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
_TOKEN = re.compile(r"[A-Za-z]|-?\d[\d.]*(?:e-?\d+)?")
_NUMBERS = {"M": 2, "L": 2, "Q": 4, "C": 6, "z": 0}
"""How many numbers follow a command of a path."""

_SHORT = 300
"""Paths with fewer characters are marks, whose shape needs hundredths of a point; others are lines, which do not."""

_UPRIGHT = re.compile(r"rotate\(-?0(\.0+)? ")


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
    for element in list(root.iter()):
        name = element.get("id")
        if name is None:
            continue
        match = _TAG.match(name)
        if match:
            _name(element, [part.partition(".")[::2] for part in match[1].strip("-").split("-")])
        if name in used:
            names[name] = f"{prefix}-{len(names)}"
            element.set("id", names[name])
        else:
            del element.attrib["id"]
    for element in root.iter():
        if element.tag == f"{{{_SVG}}}text" and _UPRIGHT.match(element.get("transform", "")):
            del element.attrib["transform"]
        for key, value in list(element.attrib.items()):
            element.set(key, _value(key, value, names))
    for element in root.iter():
        _share_style(element)
    width, height = root.attrib.pop("width"), root.attrib.pop("height")
    root.attrib.pop("version", None)
    size = float(width.removesuffix("pt")), float(height.removesuffix("pt"))
    root.set("style", f"aspect-ratio:{size[0]:.0f}/{size[1]:.0f};width:{size[0] * 4 / 3:.0f}px")
    root.set("preserveAspectRatio", "xMinYMin meet")
    root.set("role", "img")
    root.set("aria-label", label)
    text = ET.tostring(root, encoding="unicode")
    return re.sub(r">\s+<", "><", text)


def _name(element: ET.Element, pairs: list[tuple[str, str]]) -> None:
    """Give an element its ``data-`` attributes; of a key's further values each has a group round its content."""
    for key, value in pairs:
        name = f"data-{key}"
        if name in element.attrib:
            inner = ET.Element(f"{{{_SVG}}}g")
            inner.extend(list(element))
            for child in list(element):
                element.remove(child)
            element.append(inner)
            element = inner
        element.set(name, bytes.fromhex(value).decode())


def _share_style(element: ET.Element) -> None:
    """Marks that look alike have their style from their group."""
    if len(element) < 2 or element.get("style") is not None or any(child.tag != f"{{{_SVG}}}use" for child in element):
        return
    styles = {child.get("style") for child in element}
    if len(styles) == 1 and None not in styles:
        element.set("style", str(styles.pop()))
        for child in element:
            del child.attrib["style"]


def _path(value: str) -> str:
    """A path of absolute commands with fewer characters: level and upright lines by one number, no line to where one is."""
    digits = 2 if len(value) < _SHORT else 1
    made: list[str] = []
    x = y = ""
    last = ""
    tokens = _TOKEN.findall(value)
    place = 0
    while place < len(tokens):
        command, size = tokens[place], _NUMBERS.get(tokens[place], -1)
        if size < 0:
            return value
        numbers = [_short(token, digits) for token in tokens[place + 1 : place + 1 + size]]
        place += 1 + size
        if command == "L" and numbers == [x, y]:
            # A line from a point to itself is a dot where its ends are round, and nothing after another line.
            made += ["h0"] if last == "M" else []
        elif command == "L" and numbers[1] == y:
            made.append(f"H{numbers[0]}")
        elif command == "L" and numbers[0] == x:
            made.append(f"V{numbers[1]}")
        else:
            made.append(command + " ".join(numbers))
        if size:
            x, y = numbers[-2:]
        last = command
    return "".join(made)


def _short(number: str, digits: int) -> str:
    text = f"{float(number):.{digits}f}".rstrip("0").rstrip(".") if digits else number
    return "0" if text in ("-0", "") else text


def _value(key: str, value: str, names: dict[str, str]) -> str:
    if key == f"{{{_XLINK}}}href" and value[1:] in names:
        return "#" + names[value[1:]]
    if key == "d":
        return _path(value)
    if key in ("x", "y"):
        return _short(value, 2)
    if key in ("clip-path", "style", "fill", "stroke"):
        value = _REFERENCE.sub(lambda match: f"url(#{names.get(match[1], match[1])})", value)
        value = re.sub(r"(font(?:-family)?:[^;']*?)'[^;]*", r"\1sans-serif", value)
        return re.sub(r"#[0-9a-f]{6}\b", lambda match: variable(match[0]), value)
    return value


def variable(colour: str) -> str:
    """A drawn colour as a CSS variable with itself as fallback, if the dark style has another for it."""
    return f"var(--c-{colour[1:]}, {colour})" if colour in DARK else colour
