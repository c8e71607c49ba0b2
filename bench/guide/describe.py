"""``python -m bench.guide.describe > docs/attacks.md``: every attack of every suite in words, from the specs alone."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

import suites
from bench import libraries
from bench.norms import Norm
from bench.specs import AttackSpec, Coupling, Family, Hole, Method, Suite, VerifierSpec

MAIN = ("minimal_norm", "l1")
"""The suites whose rows are described at length, in norms of their own; the others are compared with them."""

HEAD = """\
# Attacks

Made from the suites by `python -m bench.guide.describe > docs/attacks.md`.

A row's **origin** is *native* (the library's own code), *port* (a paper's algorithm, written here), *stand-in* (another
method of the same family) or *repaired* (the library's own with its defects mended, beside the native row). Its
**access** is *gradient* or *decision*, which is what the attack may see. Its **start** is the clean *image*, or an
adversarial image: the *nearest* of another class, or the clean image with salt-and-pepper *noise*. A **block** is the
unit of work, of randomness and of resuming. A **cap** is the maximum number of images of a run that it attacks;
`--full` lifts it. Step counts have their evidence in [step_counts.md](step_counts.md).
"""


def page() -> str:
    """The page, as Markdown."""
    first, *others = (suites.load(name) for name in MAIN)
    main = replace(
        first,
        rows=first.rows + tuple(row for suite in others for row in suite.rows),
        holes=tuple(dict.fromkeys(hole for suite in (first, *others) for hole in suite.holes)),
    )
    rows = [row for row in main.rows if isinstance(row, AttackSpec)]
    parts = [HEAD, "## The grid\n", "\n".join(_grid(main)) + "\n"]
    for family, of_family in groupby(_methods(rows), key=lambda method: method.family):
        parts.append(f"## Family: {family}\n")
        parts += [_method(method, [row for row in rows if row.method == method]) for method in of_family]
    verifiers = [row for row in main.rows if isinstance(row, VerifierSpec)]
    parts += ["## Certified bounds\n", *dict.fromkeys(_verifier(row) for row in verifiers)]
    parts += [
        "## The other suites\n",
        *(_other(suites.load(name), main) for name in suites.names() if name not in MAIN),
    ]
    return "\n".join(parts)


def main() -> int:
    """Print the page; returns the exit code."""
    print(page(), end="")
    return 0


def _methods(rows: list[AttackSpec]) -> list[Method]:
    """The methods of the rows, family by family in the order of the grid."""
    return sorted(dict.fromkeys(row.method for row in rows), key=lambda method: list(Family).index(method.family))


def _grid(suite: Suite) -> Iterator[str]:
    norms = [norm for norm in Norm if any(row.norm is norm for row in suite.rows)]
    known = list(dict.fromkeys(row.library for row in suite.rows if isinstance(row, AttackSpec)))
    yield f"| family | library | {' | '.join(norm.label for norm in norms)} |"
    yield f"|---|---|{'---|' * len(norms)}"
    for family in Family:
        for library in known:
            cells = [_cell(suite, family, library, norm) for norm in norms]
            if any(cells):
                yield f"| {family} | {libraries.label(library)} | {' | '.join(cells)} |"
    yield ""
    for hole in suite.holes:
        yield f"- {_place(hole)}: {hole.reason}."


def _cell(suite: Suite, family: Family, library: str, norm: Norm) -> str:
    rows = [
        f"{row.method.title} ({row.variant.title if row.variant else row.origin})"
        for row in suite.rows
        if isinstance(row, AttackSpec) and (row.method.family, row.library, row.norm) == (family, library, norm)
    ]
    holes = [hole for hole in suite.holes if (hole.family, hole.library, hole.norm) == (family, library, norm)]
    return ", ".join(rows) or ("*none, see below*" if holes else "")


def _place(hole: Hole) -> str:
    return f"{hole.family} in {hole.norm.label}, {libraries.label(hole.library)}"


def _method(method: Method, rows: list[AttackSpec]) -> str:
    head = (
        f"### {method.title}\n\n{method.idea}\n\n    {method.formula}\n\nPaper: {_link(method.paper)}. "
        f"Access: {method.access}.\n"
    )
    return "\n".join([head, *(_row(row) for row in rows)])


def _row(row: AttackSpec) -> str:
    facts = [f"origin: {row.origin}"]
    if row.variant is not None:
        facts.append(f"variant: {row.variant.title}. {row.variant.idea}")
    facts += [f"class: `{row.target}`", f"start: {row.start}", f"images to a block: {row.block}"]
    if row.coupling is Coupling.BATCH:
        facts.append("each image is a call of its own: the images of a call would depend on one another")
    if row.coupling is Coupling.LOCKSTEP:
        facts.append(
            "each image is a call of its own; the calls run side by side, and their queries share forward passes"
        )
    if row.cap is not None:
        facts.append(f"cap: the first {row.cap} images ({row.reasons['cap']})")
    lines = [f"#### {row.label}: `{row.name}`\n", *(f"- {fact}" for fact in facts)]
    if row.defects:
        lines.append(f"- **known defects:** {row.defects}")
    defaults = _defaults(row)
    lines += ["", "| parameter | here | default | paper's value, the library's, and why |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {_value(value)} | {_value(defaults[name])} | {row.reasons.get(name, '')} |"
        for name, value in row.params.items()
    ]
    return "\n".join([*lines, ""])


def _defaults(row: AttackSpec) -> dict[str, object]:
    """The defaults of a target's parameters."""
    module, _, name = row.target.partition(":")
    known = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    return {key: known[key].default for key in row.params}


def _value(value: object) -> str:
    return "none" if value is inspect.Parameter.empty else f"`{value}`"


def _verifier(row: VerifierSpec) -> str:
    links = ", ".join(_link(paper) for paper in row.paper.split(", "))
    return f"### {row.title.capitalize()}\n\n{row.idea}\n\n    {row.formula}\n\nPapers: {links}.\n"


def _other(suite: Suite, main: Suite) -> str:
    """A suite's rows, each as far as it is not that of the main suite."""
    known = {row.name: row for row in main.rows}
    lines = [f"### `{suite.name}`\n", f"{suite.description}\n"]
    for row in suite.rows:
        changes = _changes(row, known.get(row.name)) if isinstance(row, AttackSpec) else []
        lines.append(f"- {row.label}{': ' if changes else ''}{'; '.join(changes)}")
    return "\n".join([*lines, ""])


def _changes(row: AttackSpec, known: object) -> list[str]:
    if not isinstance(known, AttackSpec):
        return ["only here"]
    changes = [
        f"`{name}` {_value(value)} ({row.reasons.get(name, '')})"
        for name, value in row.params.items()
        if value != known.params.get(name)
    ]
    return changes + ([f"{row.block} images to a block"] if row.block != known.block else [])


def _link(paper: str) -> str:
    number = paper.removeprefix("arXiv:")
    return f"[{paper}](https://arxiv.org/abs/{number})" if number != paper else paper


if __name__ == "__main__":
    sys.exit(main())
