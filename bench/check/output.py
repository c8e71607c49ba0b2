"""What came out of a check: for a terminal, for GitHub's workflows, as JUnit XML, as Markdown."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from bench.check.decision import Checked, Decision, Outcome
from bench.errors import printable

_MARKDOWN = re.compile(r"[\\`*_{}\[\]()<>#+!|~&@]")
_ICONS = {Outcome.HELD: "✅", Outcome.BROKEN: "❌", Outcome.UNDECIDED: "❔"}


def lines(checked: Checked) -> list[str]:
    """One line for each decision, one for each note, and one that counts them."""
    width = max((len(printable(one.text)) for one in checked.decisions), default=0)
    made = [
        f"{one.outcome:<{len(Outcome.UNDECIDED)}}  {printable(one.text):<{width}}  {printable(figures(one))}"
        for one in checked.decisions
    ]
    return [*made, *(f"note: {printable(note)}" for note in checked.notes), counted(checked)]


def figures(decision: Decision) -> str:
    """What a decision rests on, and where it is open what would decide it."""
    return f"{decision.measured}; {decision.needed}" if decision.needed else decision.measured


def counted(checked: Checked) -> str:
    """How many ended how."""
    return ", ".join(f"{checked.count(outcome)} {outcome}" for outcome in Outcome)


def github(run: str, checked: Checked, lenient: bool) -> str:
    """Annotations of a GitHub workflow: an error for what is broken, and for what is open an error, or a notice.

    Args:
        run: the run's name.
        checked: what came out.
        lenient: whether what is not decidable passes.

    Returns:
        A line for each annotation, as GitHub's documentation of workflow commands has them; empty for none.
    """
    kinds = {Outcome.BROKEN: "error", Outcome.UNDECIDED: "notice" if lenient else "error"}
    return "".join(
        annotation(kinds[one.outcome], f"{one.outcome} in {run}", f"{one.text}: {figures(one)}")
        for one in checked.decisions
        if one.outcome in kinds
    )


def annotation(kind: str, title: str, message: str) -> str:
    """One annotation; in its title ':' and ',' are escaped as well."""
    escaped = [
        printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A") for text in (title, message)
    ]
    return f"::{kind} title={escaped[0].replace(':', '%3A').replace(',', '%2C')}::{escaped[1]}\n"


def junit(run: str, checked: Checked, lenient: bool) -> str:
    """JUnit XML: a case for each decision, its class the network.

    What is broken is a failure; what is not decidable is skipped where it passes, else a failure of its own type.

    Args:
        run: the run's name.
        checked: what came out.
        lenient: whether what is not decidable passes.
    """
    undecided = checked.count(Outcome.UNDECIDED)
    counts = {
        "tests": str(len(checked.decisions)),
        "failures": str(checked.count(Outcome.BROKEN) + (0 if lenient else undecided)),
        "errors": "0",
        "skipped": str(undecided if lenient else 0),
    }
    root = ET.Element("testsuites", counts)
    suite = ET.SubElement(root, "testsuite", {"name": printable(run)} | counts)
    for one in checked.decisions:
        case = ET.SubElement(
            suite, "testcase", {"classname": printable(one.network), "name": printable(one.requirement.shown)}
        )
        text = printable(figures(one))
        if one.outcome is Outcome.HELD:
            ET.SubElement(case, "system-out").text = text
        elif one.outcome is Outcome.UNDECIDED and lenient:
            ET.SubElement(case, "skipped", {"message": text})
        else:
            ET.SubElement(case, "failure", {"type": one.outcome.value, "message": text})
    if checked.notes:
        ET.SubElement(suite, "system-out").text = "\n".join(printable(note) for note in checked.notes)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def markdown(run: str, checked: Checked, lenient: bool) -> str:
    """A summary for a pull request: a table with what is broken first.

    Args:
        run: the run's name.
        checked: what came out.
        lenient: whether what is not decidable passes.
    """
    order = (Outcome.BROKEN, Outcome.UNDECIDED, Outcome.HELD)
    ordered = sorted(checked.decisions, key=lambda one: order.index(one.outcome))
    table = [
        f"| {_ICONS[one.outcome]} {one.outcome} | {_plain(one.network)} | {_plain(one.requirement.shown)} | {_plain(figures(one))} |"
        for one in ordered
    ]
    passes = "\n\nWhat is not decidable passes here." if lenient and checked.count(Outcome.UNDECIDED) else ""
    notes = "".join(f"\n- {_plain(note)}" for note in checked.notes)
    head = f"### Robustness of {_plain(run)}\n\n{counted(checked)}{passes}\n\n"
    body = "\n".join(["| outcome | network | requirement | measured |", "|---|---|---|---|", *table])
    return f"{head}{body}\n" + (f"\n{notes.lstrip()}\n" if notes else "")


def _plain(text: str) -> str:
    """Text that Markdown shows as it is: names come from others, and may hold markup, links and mentions."""
    return _MARKDOWN.sub(lambda found: f"&#{ord(found[0])};", printable(text))
