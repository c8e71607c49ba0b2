"""``python -m bench.check`` as a workflow uses it: exit codes, what is printed and written, and what is refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import gates
import numpy as np
import pytest
import synthetic

from bench.check import __main__ as command
from bench.check import output
from bench.check.decision import Checked, Decision, Outcome
from bench.check.grammar import parse

SPREAD = np.exp(np.random.default_rng(0).normal(0, 0.4, 100))
HELD, BROKEN, OPEN = "l2.median >= 0.5", "l2.median >= 2", "l2.robust_accuracy[1] >= 0.5"
Check = Callable[..., tuple[int, str, str]]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
"""Of a process that finds what this one finds."""


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs: ``main``, ``same`` as good, ``worse`` by a tenth, ``busy`` that is not finished."""
    folder = tmp_path_factory.mktemp("results")
    noise = np.exp(np.random.default_rng(1).normal(0, 0.1, (2, 100)))
    for name, distances in (("main", SPREAD), ("same", SPREAD * noise[0]), ("worse", SPREAD * 0.9 * noise[1])):
        synthetic.write(gates.made({"CNN": distances}, name=name), folder / name)
    synthetic.write(gates.made({"CNN": SPREAD}, name="busy", status="running"), folder / "busy")
    return folder


@pytest.fixture
def check(stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """Runs the command in a folder of its own; returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def called(run: str, *words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = command.main([str(stored / run), *words])
        except SystemExit as end:
            code = int(str(end.code))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return called


def refused(result: tuple[int, str, str]) -> str:
    """The line of an unusable check."""
    code, printed, error = result
    assert code == 2
    assert printed == ""
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def requiring(*texts: str) -> list[str]:
    return [word for text in texts for word in ("--require", text)]


@pytest.mark.parametrize(
    ("texts", "options", "code"),
    [
        ([HELD], [], 0),
        ([HELD, BROKEN], [], 1),
        ([HELD, OPEN], [], 3),
        ([BROKEN, OPEN], [], 1),
        ([BROKEN, OPEN], ["--undecided", "pass"], 1),
        ([HELD, OPEN], ["--undecided", "fail"], 1),
        ([HELD, OPEN], ["--undecided", "pass"], 0),
        (["l2.median"], [], 2),
    ],
)
def test_the_exit_code(check: Check, texts: list[str], options: list[str], code: int) -> None:
    assert check("main", *requiring(*texts), *options)[0] == code


def test_one_line_for_each_requirement_and_one_that_counts(check: Check) -> None:
    code, printed, error = check("main", *requiring(HELD, BROKEN, OPEN))
    lines = printed.splitlines()
    assert [re.split(r"  +", line)[:2] for line in lines[:3]] == [
        ["held", f"CNN: {HELD}"],
        ["broken", f"CNN: {BROKEN}"],
        ["not decidable", f"CNN: {OPEN}"],
    ]
    assert "95 % interval" in lines[0]
    assert "images would decide it" in lines[2]
    assert lines[3:] == ["1 held, 1 broken, 1 not decidable"]
    assert (code, error) == (1, "")


def test_a_network_that_became_worse_is_caught_from_stored_runs(check: Check, stored: Path) -> None:
    against = [*requiring("l2 no-worse by 5%"), "--baseline", str(stored / "main")]
    code, printed, _ = check("worse", *against)
    assert code == 1
    assert printed.startswith("broken")
    assert check("same", *against)[0] == 0


def test_the_command_imports_neither_torch_nor_what_draws_and_takes_under_two_seconds(stored: Path) -> None:
    texts = [f"l2.robust_accuracy[{eps}] >= 0.01" for eps in (0.1, 0.2, 0.3, 0.4, 0.5)]
    texts += [
        HELD,
        "verdict >= warn",
        "clean_accuracy >= 0.5",
        f"attack.{gates.NEAR.name}.found_rate = 1",
        "l2 no-worse",
    ]
    words = [str(stored / "same"), *requiring(*texts), "--baseline", str(stored / "main")]
    program = (
        "import sys, time; from bench.check.__main__ import main; "
        f"code = main({words!r}); took = time.process_time(); import json; "
        "print(json.dumps([code, took, sorted({name.partition('.')[0] for name in sys.modules})]))"
    )
    seconds = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=ENVIRONMENT, check=True
        )
        code, took, modules = json.loads(done.stdout.splitlines()[-1])
        assert code == 0
        assert not {"torch", "torchvision", "matplotlib", "seaborn", "jinja2", "art", "foolbox"} & set(modules)
        seconds.append(took)
        if took < 2:
            break
    # Of the processor, as other processes may take turns with this one.
    assert min(seconds) < 2


def test_a_requirement_that_cannot_be_read_is_answered_before_anything_is_imported() -> None:
    words = [sys.executable, "-X", "importtime", "-m", "bench.check", "nowhere", "--require", "l2.medain >= 1"]
    done = subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 2
    assert "column 4: unknown quantity of l2 'medain'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not re.search(r"\| +(pandas|scipy|pyarrow)$", done.stderr, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("run", "words", "part"),
    [
        ("nowhere", requiring(HELD), "is not a run: it has no manifest.json"),
        ("busy", requiring(HELD), "is not finished, its status is 'running'"),
        (
            "main",
            [],
            "nothing is required: no --require, and no table [tool.minimal-norm-bench.check] in ./pyproject.toml",
        ),
        ("main", requiring("l2 no-worse"), "no-worse compares with a baseline; give one: --baseline results/<run>"),
        ("main", [*requiring("l2 no-worse"), "--baseline", "nowhere"], "nowhere is not a run"),
        ("main", requiring("l2.median >= nan"), "column 14: 'nan' is no number; give a finite distance"),
        ("main", requiring(HELD, HELD), "requirements 1 and 2 ask the same, 'l2.median >= 0.5'; delete one"),
        ("main", requiring("linf.median >= 1"), "has no linf; it has l2; run with --norms linf"),
        ("main", requiring("CN: l2.median >= 1"), "unknown network 'CN'; known: CNN; did you mean CNN?"),
        ("main", requiring("attack.x.found_rate = 1"), "unknown attack 'x'; known: foolbox-reference-l2"),
        ("main", [*requiring(HELD), "--config", "none.toml"], "--config none.toml is no file"),
        ("main", [*requiring(HELD), "--undecided", "maybe"], "invalid choice: 'maybe'"),
        (
            "main",
            [*requiring(HELD), "--junit", "no/where.xml"],
            "no/where.xml cannot be written: No such file or directory",
        ),
    ],
)
def test_what_cannot_be_used_is_one_line(check: Check, run: str, words: list[str], part: str) -> None:
    code, _, error = check(run, *words)
    assert code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert part in error


def test_a_damaged_run_is_one_line(stored: Path, tmp_path: Path, check: Check) -> None:
    copy = tmp_path / "copy"
    synthetic.write(gates.made({"CNN": SPREAD}), copy)
    (part,) = (copy / "records").iterdir()
    part.write_bytes(part.read_bytes()[:-9])
    assert "is damaged: its content is not what its name says" in refused(check(str(copy), *requiring(HELD)))
    part.unlink()
    assert "0 of 100 planned records are stored" in refused(check(str(copy), *requiring(HELD)))


PROJECT = """
[tool.minimal-norm-bench.check]
require = ["l2.median >= 0.5", "CNN: l2 no-worse"]
baseline = "%s/main"
undecided = "pass"
"""


def test_a_project_says_what_is_required(check: Check, stored: Path) -> None:
    Path("pyproject.toml").write_text(PROJECT % stored)
    code, printed, _ = check("same")
    assert (code, printed.splitlines()[-1]) == (0, "2 held, 0 broken, 0 not decidable")
    assert check("worse")[0] == 1
    # Requirements of the command line take the place of the file's, and what else it says holds only where it is named.
    assert check("same", *requiring(OPEN))[0] == 3
    assert check("same", *requiring(OPEN), "--config", "pyproject.toml")[0] == 0
    assert check("same", *requiring(OPEN), "--config", "pyproject.toml", "--undecided", "fail")[0] == 1
    assert check("same", *requiring("l2 no-worse"), "--config", "pyproject.toml")[0] == 0
    assert check("worse", "--baseline", str(stored / "worse"))[0] == 0


def test_a_file_of_its_own_and_a_baseline_beside_it(check: Check, stored: Path) -> None:
    folder = Path("gates")
    folder.mkdir()
    synthetic.write(gates.made({"CNN": SPREAD}, name="main"), folder / "main")
    (folder / "gate.toml").write_text('require = ["l2 no-worse"]\nbaseline = "main"\n')
    assert check("worse", "--config", "gates/gate.toml")[0] == 1
    (folder / "nested.toml").write_text(PROJECT % stored)
    assert check("same", "--config", "gates/nested.toml")[0] == 0


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("[tool", "pyproject.toml is no TOML: Expected ']'"),
        ("a = 1\nb c", "(at line 2, column 3)"),
        ("\x00", "is no TOML"),
        (
            "[tool.minimal-norm-bench.check]\nrequires = []",
            "unknown key 'requires'; known: require, baseline, undecided; did you mean require?",
        ),
        ("[tool.minimal-norm-bench.check]\nrequire = 'l2.median >= 1'", "require is a list of texts"),
        ("[tool.minimal-norm-bench.check]\nrequire = [1]", "require is a list of texts"),
        (
            "[tool.minimal-norm-bench.check]\nrequire = []",
            "nothing is required: no --require, and none in pyproject.toml",
        ),
        (
            "[tool.minimal-norm-bench.check]\nrequire = ['l2.median >= 1', 'l2.medain >= 1']",
            "pyproject.toml, require[2]: requirement 'l2.medain >= 1', column 4: ",
        ),
        (
            "[tool.minimal-norm-bench.check]\nrequire = ['l2.median >= 1', 'l2.median >= 1.0']",
            "pyproject.toml, require: requirements 1 and 2 ask the same",
        ),
        ("[tool.minimal-norm-bench.check]\nbaseline = 3", "baseline is the folder of a run"),
        (
            "[tool.minimal-norm-bench.check]\nundecided = 'maybe'",
            "undecided = 'maybe' is not possible; allowed: fail, pass",
        ),
        ("[tool.minimal-norm-bench]\ncheck = 3", "is no table; write [tool.minimal-norm-bench.check]"),
        ("[tool]\nother = 3", "no table [tool.minimal-norm-bench.check] in ./pyproject.toml"),
        ("tool = 3", "no table [tool.minimal-norm-bench.check] in ./pyproject.toml"),
    ],
)
def test_a_project_that_cannot_be_used_is_one_line(check: Check, content: str, part: str) -> None:
    Path("pyproject.toml").write_text(content)
    assert part in refused(check("main"))
    assert check("main", *requiring(HELD))[0] == 0


def test_a_file_that_is_no_text_and_a_project_without_the_table(check: Check) -> None:
    Path("latin.toml").write_bytes(b"a = '\xff'")
    assert "latin.toml is no TOML: 'utf-8' codec" in refused(check("main", "--config", "latin.toml"))
    Path("pyproject.toml").write_text("[tool.ruff]\n")
    assert "has no table [tool.minimal-norm-bench.check]; write one" in refused(
        check("main", "--config", "pyproject.toml")
    )
    Path("keys.toml").write_text("[tool.ruff]\n")
    assert "unknown key 'tool'" in refused(check("main", "--config", "keys.toml"))


def test_annotations_of_a_workflow(check: Check, stored: Path) -> None:
    _, printed, _ = check("main", *requiring(HELD, BROKEN, OPEN), "--github")
    annotations = [line for line in printed.splitlines() if line.startswith("::")]
    assert [line.partition(" ")[0] for line in annotations] == ["::error", "::error"]
    assert f"title=broken in {stored / 'main'}::CNN: l2.median >= 2: " in annotations[0]
    assert "95 %25 interval" in annotations[0]
    _, printed, _ = check("main", *requiring(OPEN), "--github", "--undecided", "pass")
    assert "\n::notice title=not decidable in " in printed
    code, printed, error = check("busy", *requiring(HELD), "--github")
    assert (code, error.count("\n")) == (2, 1)
    assert printed.startswith("::error title=the check cannot be made::")


def test_junit_xml(check: Check) -> None:
    check("main", *requiring(HELD, BROKEN, OPEN), "--junit", "all.xml")
    root = ET.parse("all.xml").getroot()
    (suite,) = root
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "3", "failures": "2", "errors": "0", "skipped": "0"
    }  # fmt: skip
    cases = suite.findall("testcase")
    assert [case.get("classname") for case in cases] == ["CNN"] * 3
    assert [case.get("name") for case in cases] == [HELD, BROKEN, OPEN]
    assert [[child.tag for child in case] for case in cases] == [["system-out"], ["failure"], ["failure"]]
    assert cases[2][0].get("type") == "not decidable"
    assert "95 % interval" in str(cases[1][0].get("message"))
    check("main", *requiring(OPEN), "--junit", "all.xml", "--undecided", "pass")
    suite = ET.parse("all.xml").getroot()[0]
    assert (suite.get("failures"), suite.get("skipped")) == ("0", "1")
    assert [child.tag for child in suite.findall("testcase")[0]] == ["skipped"]


def test_a_summary_for_a_pull_request(check: Check) -> None:
    check("main", *requiring(HELD, BROKEN, OPEN), "--markdown", "all.md")
    lines = Path("all.md").read_text().splitlines()
    assert lines[0].startswith("### Robustness of ")
    assert lines[2] == "1 held, 1 broken, 1 not decidable"
    assert [line.split("|")[1].split()[1] for line in lines[6:9]] == ["broken", "not", "held"]
    assert "passes here" not in "\n".join(lines)
    check("main", *requiring(OPEN), "--markdown", "all.md", "--undecided", "pass")
    assert "What is not decidable passes here." in Path("all.md").read_text()


def test_names_of_others_are_text_wherever_they_are_shown() -> None:
    name = "a|b`<img src=x>[l](http://x)\n::error::@you%\x1b[31m,:"
    one = Decision(requirement=parse(BROKEN), network=name, outcome=Outcome.BROKEN, measured="1", needed="")
    checked = Checked(decisions=[one], notes=[name])
    (first, note, _) = output.lines(checked)
    assert "\x1b" not in first + note
    (annotation, end) = output.github(name, checked, False).split("\n")
    assert (annotation.count("\n"), end) == (0, "")
    title = annotation.removeprefix("::error title=").partition("::")[0]
    assert not set(title) & set(":,")
    root = ET.fromstring(output.junit(name, checked, False))
    assert str(root.find("testsuite/testcase").get("classname")).startswith("a|b`<img src=x>")  # type: ignore[union-attr]
    shown = output.markdown(name, checked, False)
    assert not re.search(r"[<>`@\[]", shown.replace("### ", ""))
    assert len(shown.splitlines()[6].split("|")) == 6


def test_a_run_of_the_first_format_can_be_checked(check: Check) -> None:
    old = Path(__file__).parent / "data" / "format1"
    code, printed, _ = check(str(old), *requiring("l2.robust_accuracy[0.1] >= 0.2", "verdict >= warn"))
    assert code in {0, 1, 3}
    assert printed.count("\n") > 2
