"""What a user types for a network, taken apart: ``[name=]SOURCE[(arguments)][@weights]``. Nothing is executed or opened."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from bench.errors import UsageError, unknown

TORCHVISION, TIMM, ONNX = "torchvision:", "timm:", "onnx:"
"""How sources begin that no code of the user's makes a network of."""

NAME = r"[^\W\d][\w.-]{0,63}"
"""A network's name."""

FACTORY = r"[^\W\d]\w{0,63}"
"""A Python function's or class's name."""

MODULE = r"[^\W\d][\w.]*"

ALSO = ("path/to/file.py:factory", "module:factory", f"{TORCHVISION}NAME", f"{TIMM}NAME", f"{ONNX}file.onnx")
"""What a source may be beside names, for messages."""

EXAMPLE = "(width=32, act='relu')"

_MOST_ENDS = 200
"""So many closing parentheses are tried for the end of the arguments."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A text, taken apart.

    Attributes:
        name: what stands before ``=``; empty for none.
        source: what makes the network, as it was typed.
        arguments: of the factory, as Python writes them, in parentheses; empty for none.
        weights: what stands behind ``@``; None for none.
    """

    name: str
    source: str
    arguments: str = ""
    weights: str | None = None


def split(text: str, named: Callable[[], Collection[str]]) -> Parts:
    """Take a text apart.

    A path may hold ``@``, ``(`` and ``=``: a source ends at the first place where one can end, which is behind
    ``file.py:factory``, ``module:factory``, a model's name, or a name that needs no path. All behind ``onnx:`` is a path, and
    so is all behind the ``@`` that follows a source.

    Args:
        text: what a user typed.
        named: the sources that need no path; asked only where the text may be one.

    Raises:
        UsageError: it is no network, or its arguments are no Python literals.
    """
    front, equals, rest = text.partition("=")
    name, rest = (front, rest) if equals and re.fullmatch(NAME, front) else ("", text)
    source = _source(rest, text, named)
    tail = rest[len(source) :]
    arguments = ""
    if tail.startswith("("):
        call, tail = _call(tail, text)
        arguments = _canonical(call, text)
    if not tail:
        return Parts(name, source, arguments)
    if tail == "@":
        raise UsageError(
            f"network {text!r} names no file of weights behind '@'; leave '@' out, or give @weights.safetensors"
        )
    return Parts(name, source, arguments, tail[1:])


def values(arguments: str) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a factory, by position and by keyword.

    Args:
        arguments: those of a :class:`Parts`.

    Raises:
        UsageError: they are none.
    """
    if not arguments:
        return [], {}
    call, _ = _call(arguments, arguments)
    _canonical(call, arguments)
    named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    return [ast.literal_eval(each) for each in call.args], named


def _source(rest: str, text: str, named: Callable[[], Collection[str]]) -> str:
    """What of a text without its name is the source."""
    if rest.startswith(ONNX):
        return rest
    for prefix in (TORCHVISION, TIMM):
        if rest.startswith(prefix):
            found = re.match(rf"{prefix}\w[\w.-]*(?=[(@]|\Z)", rest)
            if found is None:
                raise UsageError(
                    f"network {text!r} names no model; give {prefix}resnet18, or {prefix}resnet18(num_classes=10)@weights.pt"
                )
            return found[0]
    head = re.split(r"[(@]", rest, maxsplit=1)[0]
    if ":" not in head:
        known = named()
        for each in (rest, head):
            if each in known:
                return each
    for found in re.finditer(rf":({FACTORY})(?=[(@]|\Z)", rest):
        place = rest[: found.start()]
        if place.endswith(".py") or re.fullmatch(MODULE, place):
            return rest[: found.end()]
    raise _no_source(rest, text, named)


def _no_source(rest: str, text: str, named: Callable[[], Collection[str]]) -> UsageError:
    """Why a text names no source."""
    file = re.match(r".*?\.py(?=[(@]|\Z)", rest)
    if file is not None:
        return UsageError(
            f"network {text!r} has no factory; give a function's or a class's name after a colon: {file[0]}:make"
        )
    place, colon, factory = rest.rpartition(":")
    if colon and (place.endswith(".py") or re.fullmatch(MODULE, place)):
        return UsageError(f"{text!r}: {factory!r} is not a Python function's name of at most 64 characters")
    return unknown("network", text, [*named(), *ALSO])


def _call(tail: str, text: str) -> tuple[ast.Call, str]:
    """The call that a text begins with, and what follows it."""
    for end in islice(_ends(tail), _MOST_ENDS):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                call = ast.parse(f"f{tail[:end]}", mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            continue
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
            return call, tail[end:]
    raise UsageError(f"network {text!r}: {tail!r} are no arguments; write them as in Python, such as {EXAMPLE}")


def _ends(tail: str) -> Iterator[int]:
    """Where the arguments may end: behind a parenthesis that nothing or ``@`` follows."""
    return (found.end() for found in re.finditer(r"\)(?=@|\Z)", tail))


def _canonical(call: ast.Call, text: str) -> str:
    """Arguments as Python writes them; empty for none."""
    words = []
    seen = set()
    for name, value in [(None, each) for each in call.args] + [
        (each.arg or "**", each.value) for each in call.keywords
    ]:
        if isinstance(value, ast.Starred) or name == "**":
            raise UsageError(f"network {text!r}: give each argument by itself, without stars, such as {EXAMPLE}")
        if name in seen:
            raise UsageError(f"network {text!r}: argument {name} is given twice")
        try:
            ast.literal_eval(value)
            written = ast.unparse(value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            raise UsageError(
                f"network {text!r}: {'an argument' if name is None else name} is no Python literal; nothing is computed: "
                "give numbers, 'text', True, False, None, or lists, tuples, sets and dicts of them"
            ) from None
        if name is not None:
            seen.add(name)
        words.append(written if name is None else f"{name}={written}")
    return f"({', '.join(words)})" if words else ""
