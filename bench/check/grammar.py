"""How a requirement is written, read from left to right, with the column of every fault.

::

    [NETWORK:] NORM.median SIGN NUMBER
    [NETWORK:] NORM.robust_accuracy[EPS] SIGN FRACTION
    [NETWORK:] NORM.certified[EPS] SIGN FRACTION
    [NETWORK:] NORM no-worse [by NUMBER%]
    [NETWORK:] clean_accuracy SIGN FRACTION
    [NETWORK:] attack.NAME.found_rate SIGN FRACTION
    [NETWORK:] verdict SIGN LEVEL
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable
from typing import NoReturn

from bench.check.requirements import (
    AT_EPS,
    LEAST,
    LEVELS,
    OF_NORMS,
    SIGNS,
    Quantity,
    Requirement,
    RequirementError,
    Sign,
    printed,
)
from bench.errors import UsageError, unknown
from bench.findings import Level
from bench.norms import Norm

_HEADS = (*(norm.value for norm in Norm), "verdict", "clean_accuracy", "attack")
_EXAMPLE = "write it as in 'l2.median >= 1.0'"
_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_SIZE = "a finite distance"
_FRACTION = "a fraction from 0 to 1"


def parse(text: str) -> Requirement:
    """Read a requirement.

    Args:
        text: such as ``CNN: l2.median >= 1.0``.

    Raises:
        RequirementError: it is none; the message names the column of the fault, and what is allowed there.
    """
    return _Reader(text).requirement()


def parse_all(texts: Iterable[str], where: str = "") -> list[Requirement]:
    """Read several requirements.

    Args:
        texts: as in :func:`parse`.
        where: where they are from, such as ``pyproject.toml, require``; messages begin with it and the number from 1.

    Raises:
        UsageError: one is none, two ask the same, or there is none.
    """
    made: list[Requirement] = []
    for number, text in enumerate(texts, start=1):
        try:
            found = parse(text)
        except RequirementError as error:
            raise UsageError(f"{where}[{number}]: {error}" if where else str(error)) from error
        if found in made:
            raise UsageError(
                f"{f'{where}: ' if where else ''}requirements {made.index(found) + 1} and {number} ask the same, "
                f"'{found}'; delete one"
            )
        made.append(found)
    if not made:
        raise UsageError("nothing is required; give a requirement, such as 'l2.median >= 1.0'")
    return made


class _Reader:
    """A requirement being read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def fail(self, message: str, at: int | None = None) -> NoReturn:
        raise RequirementError(self.text, (self.at if at is None else at) + 1, message)

    def blanks(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def take(self, pattern: str) -> str:
        """What stands here of a pattern; empty for nothing."""
        found = re.compile(pattern, re.ASCII).match(self.text, self.at)
        self.at = found.end() if found else self.at
        return found[0] if found else ""

    def named(self, what: str, known: Collection[str], pattern: str = r"[^\s.\[\]<>=]+") -> str:
        """One of the known words, in any case of letters."""
        start, word = self.at, self.take(pattern)
        if word.lower() not in known:
            message = str(unknown(what, word, known)) if word else f"a {what} is missing; known: {', '.join(known)}"
            self.fail(message, start)
        return word.lower()

    def requirement(self) -> Requirement:
        if not self.text.strip():
            self.fail(f"nothing is required; {_EXAMPLE}")
        network = self.network()
        self.blanks()
        head = self.named("quantity", _HEADS)
        if head == "attack":
            found = self.compared(Quantity.FOUND_RATE, network, attack=self.attack())
        elif head in {"verdict", "clean_accuracy"}:
            found = self.compared(Quantity(head), network)
        else:
            found = self.of_norm(Norm(head), network)
        self.blanks()
        if self.at < len(self.text):
            self.fail(f"{self.text[self.at :][:40]!r} stands after the end of the requirement; give each one by itself")
        return found

    def network(self) -> str:
        front, colon, _ = self.text.rpartition(":")
        name = front.strip()
        if colon and (not name or ":" in name):
            self.fail("before ':' stands the name of one network, as in 'CNN: l2.median >= 1.0'")
        self.at = len(front) + len(colon)
        return name

    def attack(self) -> str:
        start = self.at
        found = self.take(r"\.[^\s<>=]+")
        name, _, last = found[1:].rpartition(".")
        if not name:
            self.fail(
                "write attack.NAME.found_rate, with the name of a row, as in attack.foolbox-ddn-l2.found_rate", start
            )
        if last != "found_rate":
            self.fail(str(unknown("quantity of an attack", last, ["found_rate"])), start + len(name) + 2)
        return name

    def of_norm(self, norm: Norm, network: str) -> Requirement:
        if self.take(r"\."):
            start = self.at
            if self.take(r"no-worse"):
                self.fail(f"write '{norm} no-worse', with a blank", start)
            quantity = Quantity(self.named(f"quantity of {norm}", OF_NORMS))
            return self.compared(quantity, network, norm=norm, eps=self.eps(quantity) if quantity in AT_EPS else None)
        self.blanks()
        start = self.at
        word = self.take(r"[^\s<>=]+")
        if word in OF_NORMS:
            self.fail(f"write '{norm}.{word}', with a dot", start)
        if word != Quantity.NO_WORSE:
            near = str(unknown("requirement", word, [Quantity.NO_WORSE])) + "; " if word else ""
            self.fail(
                f"{near}after {norm} comes '.median', '.robust_accuracy[EPS]', '.certified[EPS]' or ' no-worse'", start
            )
        return Requirement(quantity=Quantity.NO_WORSE, network=network, norm=norm, value=self.least(), text=self.text)

    def least(self) -> float:
        self.blanks()
        start = self.at
        if start == len(self.text):
            return LEAST
        if self.take(r"\S+") != "by":
            self.fail("after no-worse comes nothing, or the least difference that matters, as in 'by 5%'", start)
        self.blanks()
        start = self.at
        value = self.number("a percentage, as in 'by 5%'")
        if not self.take(r"%"):
            self.fail("a '%' is missing; write the least difference that matters as in 'by 5%'")
        if not 0 <= value < 100:
            self.fail("the least difference that matters is from 0% to below 100%", start)
        return value

    def eps(self, quantity: Quantity) -> float:
        self.blanks()
        example = f"as in '{quantity}[0.1]'"
        if not self.take(r"\["):
            self.fail(f"the size of the change is missing, {example}")
        self.blanks()
        start = self.at
        value = self.number(f"the size of a change, {example}")
        if value < 0:
            self.fail("eps is the size of a change, 0 or more", start)
        self.blanks()
        if not self.take(r"\]"):
            self.fail(f"a ']' is missing, {example}")
        return value

    def number(self, what: str) -> float:
        """A finite number, or a quotient of two, as in 8/255."""
        start = self.at
        top = self.take(_NUMBER)
        if not top or self.take(r"[^\s\]%/<>=]+"):
            self.at = start
            word = self.take(r"[^\s\]%]+")
            self.fail(f"{repr(word) + ' is no number' if word else 'a number is missing'}; give {what}", start)
        value = float(top)
        if self.take(r"/"):
            below = self.take(_NUMBER)
            if not below or not float(below):
                self.fail("after '/' comes a number other than 0, as in 8/255")
            value /= float(below)
        if not math.isfinite(value):
            self.fail(f"{top[:40]} is too large for a number", start)
        return value + 0.0  # -0 as 0

    def compared(
        self, quantity: Quantity, network: str, *, norm: Norm | None = None, eps: float | None = None, attack: str = ""
    ) -> Requirement:
        self.blanks()
        start = self.at
        written = self.take(r"[<>=!~]+")
        allowed = SIGNS[quantity]
        given = "=" if written == "==" else written
        if given not in allowed:
            reason = ", because it is estimated from images" if given == Sign.EQUAL else ""
            found = f"{written!r} is not possible for {quantity}{reason}" if written else "a sign is missing"
            self.fail(f"{found}; allowed: {', '.join(allowed)}", start)
        self.blanks()
        start = self.at
        if quantity is Quantity.VERDICT:
            level = Level(self.named("verdict", LEVELS))
            return Requirement(quantity=quantity, network=network, sign=Sign(given), level=level, text=self.text)
        value = self.number(_SIZE if quantity is Quantity.MEDIAN else _FRACTION)
        if quantity is Quantity.MEDIAN and value < 0:
            self.fail("a distance is 0 or more", start)
        if quantity is not Quantity.MEDIAN:
            value = value / 100 if self.take(r"%") else value
            if not 0 <= value <= 1:
                near = f"; did you mean {printed(value / 100)}?" if 1 < value <= 100 else ""
                self.fail(f"{printed(value)} is no fraction; give a number from 0 to 1{near}", start)
        return Requirement(
            quantity=quantity, network=network, norm=norm, eps=eps, attack=attack, sign=Sign(given), value=value, text=self.text
        )  # fmt: skip
