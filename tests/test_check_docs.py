"""The page on the gate, against what it is about."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from bench.check import __main__ as command
from bench.check import config, grammar
from bench.check.requirements import LEAST, Quantity, RequirementError

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "gate.md").read_text()
README = (ROOT / "README.md").read_text()


def test_every_requirement_of_the_pages_is_one() -> None:
    texts = re.findall(r'--require "([^"]+)"', PAGE + README)
    (table,) = re.findall(r"\| condition \|.*?\n\n", PAGE, flags=re.DOTALL)
    for line in table.strip().splitlines()[2:]:
        texts += re.findall(r"`([^`]+)`", line.split("|")[1])
    assert len(texts) > 12
    assert {grammar.parse(text).quantity for text in texts} == set(Quantity)


def test_the_table_of_a_project_is_read(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
    assert set(tomllib.loads(block)["tool"]["minimal-norm-bench"]["check"]) == set(config.KEYS)
    path = tmp_path / "pyproject.toml"
    path.write_text(block)
    said = config.read(path)
    assert len(grammar.parse_all(said.require)) == 4
    assert (said.baseline, said.undecided) == (tmp_path / "results" / "main", "pass")


def test_the_commands_of_the_pages_are_taken() -> None:
    found = re.findall(
        r"python -m bench\.check (results\S+ --baseline.*?)(?:\n *\n|\n```)", PAGE + README, flags=re.DOTALL
    )
    assert len(found) == 3
    for words in found:
        options = command.parser().parse_args(shlex.split(words.replace("\\\n", " ")))
        assert options.run == Path("results/candidate")


def test_the_page_shows_the_message_of_a_fault() -> None:
    (shown,) = re.findall(r"^ {4}error: (.*)$", PAGE, flags=re.MULTILINE)
    with pytest.raises(RequirementError) as caught:
        grammar.parse("l2.medain >= 1")
    assert str(caught.value) == shown


def test_the_default_of_no_worse_is_that_of_the_page() -> None:
    assert f"alone, `l2 no-worse`, it means {LEAST:g} %" in PAGE
    assert grammar.parse("l2 no-worse") == grammar.parse(f"l2 no-worse by {LEAST:g}%")


def test_every_option_is_on_the_page() -> None:
    options = {name for action in command.parser()._actions for name in action.option_strings if name.startswith("--")}
    assert {name for name in options if name not in PAGE} == {"--help"}
