"""Facts to pages: Markdown in two languages, and the table of the README."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jinja2

from bench.errors import UsageError
from bench.guide.results.facts import Facts
from bench.guide.results.words import SPACE, Words, cell
from bench.report.tables import UNDEFINED

PAGES = {
    "1-networks": "en",
    "2-attacks": "en",
    "3-distributions": "en",
    "4-nearest": "en",
    "5-libraries": "en",
    "6-weakness": "en",
    "7-bounds": "en",
    "fr": "fr",
}
"""The pages, in ``docs/results``, and their languages."""

BEGIN, END = "<!-- results -->", "<!-- end of results -->"
"""Between these lines of the README stands its table."""


def pages(facts: Facts, alts: Mapping[str, str]) -> dict[str, str]:
    """Every page as Markdown, by name.

    Args:
        facts: of :func:`bench.guide.results.facts.everything`.
        alts: the names of all figures, with what each shows.
    """
    return {
        name: rendered(f"{language}/{name}.md.j2", Words(language), facts, alts) for name, language in PAGES.items()
    }


def readme(text: str, facts: Facts) -> str:
    """The README with its table of results.

    Args:
        text: of the README.
        facts: as for :func:`pages`.

    Raises:
        UsageError: the README has no place for it.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UsageError(f"the README has no lines {BEGIN} and {END}; put them where its results shall stand")
    table = rendered("en/readme.md.j2", Words("en"), facts, {})
    return f"{before}{BEGIN}\n{table}{END}{after}"


def rendered(template: str, words: Words, facts: Facts, alts: Mapping[str, str]) -> str:
    """A template with all that it may call."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bench.guide.results"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - it is Markdown, and all text is the bench's own
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["lower_first"] = lambda text: text[:1].lower() + text[1:]
    helpers: dict[str, Callable[..., Any] | str] = {
        "num": words.number,
        "pct": words.percent,
        "p": words.p,
        "ci": words.interval,
        "listed": words.listed,
        "cell": cell,
        "nbsp": SPACE,
        "has": lambda name: name in alts,
        "fig": lambda name, text="": _figure(name, text or alts[name]),
        "paper": _paper,
        "scored": lambda scores: _scored(scores, words),
        "summed": _summed,
        "keyed": lambda keys: "; ".join(f"{one} and {two} in {norm}" for norm, one, two in keys),
        "looked": lambda lines, network, norm: _looked(lines, network, norm, words),
    }
    text = environment.get_template(template).render(**facts, **helpers)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def _figure(name: str, text: str) -> str:
    return f"![{text.replace('[', '(').replace(']', ')')}](figures/{name}.svg)"


def _paper(paper: str) -> str:
    number = paper.removeprefix("arXiv:")
    return f"[{paper}](https://arxiv.org/abs/{number})" if number != paper else paper


def _scored(scores: Sequence[Facts], words: Words) -> str:
    known = [one for one in scores if not math.isnan(one["ratio"])]
    return "; ".join(f"{one['label']} {words.number(one['ratio'], 4)}" for one in known) or UNDEFINED


def _summed(found: Facts) -> str:
    """Whether dropout helps, in a sentence."""
    parts = []
    for word, text in (("more", "more robust, significantly,"), ("less", "less robust, significantly,")):
        if found[word]:
            named = [f"{line['drop']} in {line['label']}" for line in found[word]]
            parts.append(f"{text} in {len(named)} of {len(found['lines'])} comparisons ({', '.join(named)})")
    if not parts:
        return f"Dropout makes no significant difference in any of {len(found['lines'])} comparisons."
    rest = f"; {len(found['open'])} are not settled" if found["open"] else ""
    return f"With dropout a network is {' and '.join(parts)}{rest}."


def _looked(lines: Sequence[Facts], network: str, norm: str, words: Words) -> str:
    for line in lines:
        if (line["network"], line["norm"]) == (network, norm):
            return f"{words.number(line['median'])} ({words.interval(line['median_low'], line['median_high'])})"
    return UNDEFINED
