"""``python -m bench.guide.results``: the chapters, their figures and the table of the README, from the stored reference runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.arguments import Parser, command
from bench.errors import StoreError
from bench.guide.reference import INTO
from bench.guide.results import facts, figures, pages, stored

DOCS, README = Path("docs/results"), Path("README.md")


def parser() -> Parser:
    """The command line of ``python -m bench.guide.results``."""
    words = Parser(
        prog="python -m bench.guide.results",
        description="Write the chapters of the results, their figures and the table of the README from the reference runs.",
    )
    words.add_argument("--runs", type=Path, default=INTO, help="the stored reference runs (%(default)s)")
    words.add_argument("--docs", type=Path, default=DOCS, help="where the pages are written (%(default)s)")
    words.add_argument("--readme", type=Path, default=README, help="the README (%(default)s)")
    words.add_argument(
        "--check", action="store_true", help="write nothing; exit code 1 where something differs from the records"
    )
    return words


def main(arguments: Sequence[str] | None = None) -> int:
    """Write, or check, everything; returns the exit code."""
    options = parser().parse_args(arguments)

    def run() -> int:
        if options.check:
            lines = differences(options.runs, options.docs, options.readme)
            print("\n".join(lines) or "every page and figure is as the records say")
            return 1 if lines else 0
        for path in write(options.runs, options.docs, options.readme):
            print(path)
        return 0

    return command(run)


def write(runs: Path, docs: Path, readme: Path) -> list[Path]:
    """Write all pages, the figures that are not as their data are, and the README; returns what was written.

    Args:
        runs: the folder of reference runs.
        docs: the folder of pages; figures lie in ``figures`` below it.
        readme: the file.

    Raises:
        BenchError: a run is missing or damaged, or something cannot be written.
    """
    found, paths = stored.load(runs), _paths(runs)
    known = facts.everything(found, paths)
    folder = docs / "figures"
    changed = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        plans = figures.planned(found, paths)
        for old in folder.glob("*.svg"):
            if old.stem not in plans:
                old.unlink()
        for plan in plans.values():
            path = folder / f"{plan.name}.svg"
            if not path.exists() or figures.made_from(path.read_text(encoding="utf-8")) != plan.made_from:
                path.write_text(figures.draw(plan), encoding="utf-8")
                changed.append(path)
        texts = _texts(known, plans, docs, readme)
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{error.filename} cannot be read or written: {error.strerror}") from error
    return [*changed, *texts]


def differences(runs: Path, docs: Path, readme: Path) -> list[str]:
    """What is stored of pages, figures and README, and is not as the records say: a line each.

    Args:
        runs, docs, readme: as for :func:`write`.
    """
    found, paths = stored.load(runs), _paths(runs)
    plans = figures.planned(found, paths)
    lines = []
    for path, text in _texts(facts.everything(found, paths), plans, docs, readme).items():
        lines += _compared(path, text)
    stems = {path.stem: path for path in (docs / "figures").glob("*.svg")}
    lines += [f"{stems[name]} is of no figure" for name in sorted(set(stems) - set(plans))]
    for name, plan in plans.items():
        if name not in stems:
            lines.append(f"{docs / 'figures' / name}.svg is missing")
        elif figures.made_from(stems[name].read_text(encoding="utf-8")) != plan.made_from:
            lines.append(f"{stems[name]} is not made from these records")
    return lines


def _texts(known: facts.Facts, plans: Mapping[str, figures.Plan], docs: Path, readme: Path) -> dict[Path, str]:
    made = pages.pages(known, {name: plan.alt for name, plan in plans.items()})
    texts = {docs / f"{name}.md": text for name, text in made.items()}
    return texts | {readme: pages.readme(readme.read_text(encoding="utf-8"), known)}


def _compared(path: Path, text: str) -> list[str]:
    """The first line of a page that differs, in words."""
    if not path.exists():
        return [f"{path} is missing"]
    stored_lines, made = path.read_text(encoding="utf-8").split("\n"), text.split("\n")
    for number, (one, two) in enumerate(zip(stored_lines, made, strict=False), 1):
        if one != two:
            return [f"{path}, line {number}: {one[:120]!r} stands there, the records say {two[:120]!r}"]
    return (
        []
        if len(stored_lines) == len(made)
        else [f"{path} has {len(stored_lines)} lines, the records make {len(made)}"]
    )


def _paths(runs: Path) -> dict[str, Any] | None:
    path = runs / "paths.json"
    if not path.exists():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(f"{path} is damaged ({error}); python -m bench.guide.paths makes it again") from error
    return content


if __name__ == "__main__":
    sys.exit(main())
