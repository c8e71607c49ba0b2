"""Suites of attacks: a file ``suites/<name>.py`` exports ``SUITE`` and is the ``--suite`` name.

A suite of one's own picks rows of ours and adds others::

    from bench.specs import Suite
    from suites import rows

    SUITE = Suite(name="mine", description="All of ours in Linf.", rows=rows(norm="linf"), samples=100)
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping

from bench.errors import UsageError, unknown
from bench.norms import Norm
from bench.plugins import Kind
from bench.specs import AttackSpec, Family, Row, Suite, checked


def _builtin() -> Mapping[str, str]:
    files = (part.name for part in pkgutil.iter_modules(__path__) if not part.ispkg)
    return {name: f"suites.{name}:SUITE" for name in files}


SUITES = Kind("suite", "suites", _builtin, attribute="SUITE")


def names() -> tuple[str, ...]:
    """The suites that have a name: the bench's own, and those of installed packages."""
    return SUITES.names()


def load(text: str) -> Suite:
    """A suite by its name, ``module:object``, ``file.py`` or ``file.py:object``.

    Raises:
        UsageError: there is no such suite, or it cannot be run.
    """
    return usable(SUITES.find(text).value, text)


def usable(suite: object, name: str) -> Suite:
    """A suite whose rows can be run.

    Args:
        suite: what was found where a suite was looked for.
        name: as users gave it, for messages.

    Raises:
        UsageError: it is no suite, has no rows or the same one twice, or a field of it is of another type or range than
            :mod:`bench.specs` says.
    """
    if not isinstance(suite, Suite):
        raise UsageError(f"suite {name!r} is a {type(suite).__name__}; it must be a bench.specs.Suite")
    if not suite.rows:
        raise UsageError(f"suite {name!r} has no rows; suites.rows() picks some of ours")
    try:
        suite = checked(suite)
    except ValueError as error:
        raise UsageError(f"suite {name!r} cannot be run: {error}") from error
    known = [row.name for row in (*suite.rows, *suite.on_request)]
    for row in known:
        if known.count(row) > 1:
            raise UsageError(
                f"suite {name!r} has the row {row!r} more than once; give each a method, variant or norm of its own"
            )
    return suite


def rows(
    *,
    norm: Norm | str | None = None,
    family: Family | str | None = None,
    library: str | None = None,
    name: str | None = None,
    suite: str = "minimal_norm",
) -> tuple[Row, ...]:
    """Rows of a suite, for a suite of one's own.

    Args:
        norm: ``l0``, ``l1``, ``l2`` or ``linf``; None for all.
        family: such as ``deepfool``, which verifiers have none of; None for all.
        library: such as ``foolbox``; None for all.
        name: the row's own, such as ``foolbox-ddn-l2``; None for all.
        suite: whose rows.

    Raises:
        UsageError: a name is unknown, or no row is left.
    """
    source = load(suite)
    found = source.rows if norm is None and name is None else (*source.rows, *source.on_request)
    for what, asked, of_row in (
        ("norm", norm, lambda row: row.norm.value),
        ("family", family, lambda row: row.method.family.value if isinstance(row, AttackSpec) else ""),
        ("library", library, lambda row: row.library),
        ("row", name, lambda row: row.name),
    ):
        if asked is None:
            continue
        kept = tuple(row for row in found if of_row(row).lower() == str(asked).lower())
        if not kept:
            raise unknown(what, str(asked), sorted({of_row(row) for row in found} - {""}))
        found = kept
    return found
