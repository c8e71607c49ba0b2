"""Help, lists and usage errors answer at once: without torch, pandas or an attack library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "pandas", "pyarrow", "matplotlib", "art", "foolbox", "numba")

CODE = """
import sys
from bench import run
try:
    code = run.main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print("imported:", [name for name in {heavy} if name in sys.modules])
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--list"], 0),
        ([], 2),
        (["--suite", "maximal"], 2),
        (["--suite", "smoke", "--networks", "LeNet"], 2),
        (["--suite", "smoke", "--samples", "0"], 2),
        (["--suite", "smoke", "--norms", "l3"], 2),
        (["--suite", "smoke", "--name", "../x"], 2),
        (["--suite", "smoke", "--workers", "many"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_answer_that_needs_no_network_imports_none(arguments: list[str], code: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CODE.format(heavy=HEAVY), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stdout.splitlines()[-1] == "imported: []"
    assert done.stderr.count("\n") == (code == 2)
