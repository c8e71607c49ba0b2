"""The words of the page: each is explained once, and texts link to it."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

WORDS = {
    "minimal norm": "the smallest distance of an adversarial candidate that is known for an image: an upper bound",
    "certified lower bound": "a distance below which no adversarial example exists, proved",
    "exact distance": "lower and upper bound met within a relative gap of 1e-4",
    "robust accuracy": "the fraction of images whose minimal norm is above a given size of change, which papers call eps",
    "best known distance": "the smallest distance of any candidate of the run, whichever norm its attack minimises",
    "ratio": "an attack's distance over the best known one, image by image; 1 where no attack is nearer",
    "L0": "number of changed values",
    "L1": "sum of the absolute changes",
    "L2": "Euclidean length of the change",
    "Linf": "largest absolute change of any value",
    "95% interval": "of 100 such intervals about 95 hold the value of all images that the chosen ones stand for; bootstrap over "
    "images for medians, Wilson's for fractions",
    "p": "the probability of so clear an order by chance alone, if there were none; below 0.05 it counts as significant",
    "Holm": "a way to adjust p values for their number, so that any false alarm among them stays below 5%",
    "query": "an image passed forward through the network during an attack",
    "white-box": "an attack that uses the network's gradients",
    "black-box": "an attack that sees the network's decisions only; also called decision-based",
    "native": "the library's own code, unchanged",
    "port": "a paper's algorithm written here",
    "repaired": "the library's code with a defect mended",
}
"""What each word means, as ``docs/glossary.md`` has it where it has the word."""

_LINKED = [word for word in WORDS if len(word) > 2]
_PATTERN = re.compile(
    rf"\b({'|'.join(re.escape(word) for word in sorted(_LINKED, key=len, reverse=True))})(e?s)?\b", re.IGNORECASE
)
_BY_LOWER = {word.lower(): word for word in WORDS}


def address(word: str) -> str:
    """The id of a word's explanation in the page."""
    return f"word-{re.sub(r'[^a-z0-9]+', '-', word.lower()).strip('-')}"


def linked(text: str) -> Markup:
    """A text as HTML in which each word of the glossary links to its explanation, where it first occurs.

    Args:
        text: plain; what is markup in it is escaped.
    """
    parts, last, seen = [], 0, set()
    for match in _PATTERN.finditer(text):
        word = _BY_LOWER[match[1].lower()]
        if word in seen:
            continue
        seen.add(word)
        parts.append(escape(text[last : match.start()]))
        parts.append(Markup('<a class="word" href="#{}">{}</a>').format(address(word), match[0]))
        last = match.end()
    return Markup("").join([*parts, escape(text[last:])])
