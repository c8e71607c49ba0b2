"""The words of the page."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape

from bench.report import glossary

DOCUMENTED = (Path(__file__).parents[1] / "docs" / "glossary.md").read_text()


def test_a_word_means_the_same_in_the_page_and_in_the_documentation() -> None:
    documented = dict(re.findall(r"(?m)^\| ([^|]+?) \| ([^|]+?) \|$", DOCUMENTED))
    both = set(documented) & set(glossary.WORDS)
    assert {"minimal norm", "certified lower bound", "exact distance", "query"} <= both
    for word in both - {"L0"}:
        assert glossary.WORDS[word] == documented[word], word


def test_a_word_is_linked_where_it_first_occurs() -> None:
    text = glossary.linked("Robust accuracy < 1; minimal norms and robust accuracy.")
    assert text == (
        '<a class="word" href="#word-robust-accuracy">Robust accuracy</a> &lt; 1; '
        '<a class="word" href="#word-minimal-norm">minimal norms</a> and robust accuracy.'
    )


def test_parts_of_words_are_not_linked() -> None:
    assert "<a" not in glossary.linked("reports and proportions; operation; the deratio")


@given(st.text())
def test_any_text_is_escaped_and_kept(text: str) -> None:
    assert re.sub(r'<a class="word" href="#[a-z0-9-]+">|</a>', "", glossary.linked(text)) == escape(text)


def test_addresses_are_different() -> None:
    assert len({glossary.address(word) for word in glossary.WORDS}) == len(glossary.WORDS)
