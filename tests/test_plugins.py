"""From a name to an object: every form of a name, and files of users that must not see, or change, each other's world."""

from __future__ import annotations

import hashlib
import math
import os
import py_compile
import subprocess
import sys
import warnings
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from importlib.metadata import EntryPoint
from pathlib import Path

import fake_run
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import libraries, plugins
from bench.errors import BenchError, UsageError, unknown
from bench.plugins import Found, Kind

THINGS = Kind("thing", "things", lambda: {"pi": "math:pi", "path": "os:path"}, attribute="THING")
NAMED = Kind("thing", "things", dict)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text("THING = 'usual'\nother = 'named'\ndef make():\n    return THING\n")
    return path


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "package_of_mine").mkdir()
    (tmp_path / "package_of_mine" / "__init__.py").write_text("")
    (tmp_path / "package_of_mine" / "inner.py").write_text("THING = 'usual'\nother = 'named'\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "package_of_mine.inner"
    for name in ("package_of_mine", "package_of_mine.inner"):
        sys.modules.pop(name, None)


def test_what_is_built_in_has_a_name() -> None:
    assert THINGS.find("pi") == Found("pi", math.pi, "pi")
    assert THINGS.find("pi").sha256 is None


def test_a_file_is_named_from_any_folder(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mine.parent)
    usual, other = THINGS.find("mine.py"), THINGS.find("mine.py:other")
    assert (usual.name, usual.value, usual.source) == ("mine", "usual", f"{mine}:THING")
    assert (other.name, other.value, other.source) == ("other", "named", f"{mine}:other")
    monkeypatch.chdir("/")
    assert THINGS.find(usual.source) == usual
    assert THINGS.find(other.source) == other
    assert usual.sha256 == hashlib.sha256(mine.read_bytes()).hexdigest()
    assert THINGS.find(f"{mine}:make").call() == "usual"


def test_a_module_is_named_by_its_name(module: str) -> None:
    found = THINGS.find(f"{module}:other")
    assert (found.name, found.value, found.source) == ("other", "named", f"{module}:other")
    assert THINGS.find(f"{module}:THING").name == "inner"
    assert found.file is not None
    assert found.sha256 == hashlib.sha256(found.file.read_bytes()).hexdigest()


def test_an_installed_package_brings_names(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("theirs", f"{module}:other", "minimal_norm_bench.things")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry] if group == entry.group else [])
    assert THINGS.names() == ("pi", "path", "theirs")
    found = THINGS.find("theirs")
    assert (found.name, found.value, found.source) == ("theirs", "named", "theirs")
    assert found.sha256


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{folder}/none.py", r"thing '.*none.py': there is no file .*none.py"),
        ("{folder}/mine.py:absent", r"mine.py has no 'absent'"),
        ("{folder}", "unknown thing"),
        ("{folder}/mine.txt:THING", "unknown thing"),
        ("no_such_module:THING", "module no_such_module cannot be imported: ModuleNotFoundError"),
        ("os:absent", "has no 'absent'"),
        ("phi", r"unknown thing 'phi'; known: pi, path, path/to/file.py:object, module:object; did you mean pi\?"),
        ("", "unknown thing ''"),
        (":", "unknown thing ':'"),
        ("a:b:c", "unknown thing"),
        ("..:x", "unknown thing"),
        ("\0.py:THING", "is no path: ValueError"),
        ("x" * 300 + ".py", "is no path: OSError"),
        ("~nobody_of_this_name/x.py", "is no path: RuntimeError"),
        ("{folder}/raises.py", "raises.py cannot be imported: ValueError: two lines"),
        ("{folder}/ends.py", "ends.py cannot be imported: SystemExit: 3"),
        ("{folder}/wrong.py", "wrong.py cannot be imported: SyntaxError"),
    ],
    ids=lambda text: repr(text)[:30],
)
def test_what_is_none_of_these_is_refused_in_a_line(mine: Path, text: str, complaint: str) -> None:
    (mine.parent / "raises.py").write_text("raise ValueError('two\\nlines')\n")
    (mine.parent / "ends.py").write_text("raise SystemExit(3)\n")
    (mine.parent / "wrong.py").write_text("def (\n")
    with pytest.raises(UsageError, match=complaint) as raised:
        THINGS.find(text.format(folder=mine.parent))
    assert "\n" not in str(raised.value)


def test_a_kind_without_a_usual_object_wants_one_named(mine: Path) -> None:
    with pytest.raises(UsageError, match="unknown thing"):
        NAMED.find(str(mine))
    assert NAMED.find(f"{mine}:THING").name == "THING"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(st.text(max_size=30), st.from_regex(r"[\w./\\~:=-]{0,20}(\.py)?(:\w*)?", fullmatch=True)))
def test_any_text_is_an_object_or_an_error_of_ours(text: str) -> None:
    try:
        found = THINGS.find(text)
    except BenchError as error:
        assert "\n" not in str(error).replace(repr(text), "")  # noqa: PT017 - the other outcome is allowed as well
    else:
        assert THINGS.find(found.source).value is found.value


def folder(at: Path, name: str) -> Path:
    """A folder with a neighbour ``model_of_mine.py``, and a file that imports it."""
    (at / name).mkdir()
    (at / name / "model_of_mine.py").write_text(f"NAME = {name!r}\n")
    (at / name / "second_of_mine.py").write_text("")
    path = at / name / "make.py"
    path.write_text(
        "from model_of_mine import NAME as THING\n"
        "def late():\n    import model_of_mine\n    import second_of_mine\n    return model_of_mine.NAME\n"
    )
    return path


def test_each_file_sees_its_own_neighbours(tmp_path: Path) -> None:
    before, after = folder(tmp_path, "before"), folder(tmp_path, "after")
    path = list(sys.path)
    assert [THINGS.find(str(file)).value for file in (before, after, before)] == ["before", "after", "before"]
    first, second = (THINGS.find(f"{file}:late") for file in (before, after))
    assert [found.call() for found in (first, second, first)] == ["before", "after", "before"]
    assert sys.path == path


def test_a_neighbour_is_part_of_what_a_file_is_known_by(tmp_path: Path) -> None:
    file = folder(tmp_path, "here")
    known = THINGS.find(str(file)).sha256
    assert known != hashlib.sha256(file.read_bytes()).hexdigest()
    assert THINGS.find(str(file)).sha256 == known
    (tmp_path / "here" / "model_of_mine.py").write_text("NAME = 'changed'\n")
    changed = THINGS.find(str(file))
    edited = changed.sha256
    assert changed.value == "changed"
    assert edited != known
    moved = (tmp_path / "here").rename(tmp_path / "there") / "make.py"
    assert THINGS.find(str(moved)).sha256 == edited


def stale(path: Path, name: str) -> None:
    """Bytecode of another source, that Python takes for this file's: one of the same length and second."""
    source = path.read_text()
    path.write_text(source.replace(f"'{name}'", f"'{name[::-1]}'"))
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    py_compile.compile(str(path), doraise=True)
    path.write_text(source)
    os.utime(path, ns=times)


def test_a_module_that_was_edited_within_a_second_is_what_its_source_says(module: str, tmp_path: Path) -> None:
    file = folder(tmp_path, "here")
    inner = tmp_path / "package_of_mine" / "inner.py"
    stale(file.parent / "model_of_mine.py", "here")
    stale(inner, "named")
    files = set(tmp_path.rglob("*"))
    assert [THINGS.find(f"{file}").value, THINGS.find(f"{module}:other").value] == ["here", "named"]
    assert set(tmp_path.rglob("*")) == files, "bytecode is not written"
    assert "get_code" not in vars(SourceFileLoader), "what the process imports is imported as ever"


def test_a_file_that_puts_its_folder_on_the_path_itself(tmp_path: Path) -> None:
    files = [folder(tmp_path, name) for name in ("one", "two")]
    for file in files:
        file.write_text(
            "import sys\nsys.path.insert(0, __file__.rpartition('/')[0])\nfrom model_of_mine import NAME as THING\n"
        )
    path = list(sys.path)
    assert [THINGS.find(str(file)).value for file in files] == ["one", "two"]
    assert sys.path == path


def test_the_programs_own_modules_stay_where_they_are(module: str, tmp_path: Path) -> None:
    program = THINGS.find(f"{module}:other")
    loaded = sys.modules[module]
    # What the program has imported from the same folder is what a file of that folder gets.
    file = tmp_path / "beside.py"
    file.write_text(f"from {module} import other as THING\n")
    assert THINGS.find(str(file)).value == program.value
    assert sys.modules[module] is loaded


RUDE = """
import os, sys, warnings
import numpy as np
import torch

torch.set_grad_enabled(False)
torch.set_default_dtype(torch.float64)
torch.set_num_threads(3)
torch.use_deterministic_algorithms(True)
torch.autograd.set_detect_anomaly(True)
np.seterr(all="raise")
warnings.simplefilter("error")
os.chdir("/")
sys.path.insert(0, "/nowhere")

def THING():
    torch.set_grad_enabled(False)
    torch.set_default_dtype(torch.float16)
    os.chdir("/")
    return 1
"""


def world() -> tuple[object, ...]:
    return (
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_anomaly_enabled(),
        np.geterr(),
        list(warnings.filters),
        Path.cwd(),
        list(sys.path),
    )


def test_a_file_changes_no_setting_of_the_process(tmp_path: Path) -> None:
    file = tmp_path / "rude.py"
    file.write_text(RUDE)
    before = world()
    found = THINGS.find(str(file))
    assert world() == before
    assert found.call() == 1
    assert world() == before


def test_a_file_that_is_the_first_to_import_torch_changes_none_either(tmp_path: Path) -> None:
    (tmp_path / "rude.py").write_text(RUDE)
    code = (
        "import sys\nfrom bench.plugins import Kind\nassert 'torch' not in sys.modules\n"
        "Kind('thing', 'things', dict, attribute='THING').find('rude.py')\n"
        "import torch\nassert torch.is_grad_enabled() and torch.get_default_dtype() is torch.float32\n"
    )
    environment = fake_run.environment()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("given_name", "ending"),
    [("mpl", "did you mean MLP?"), ("cnn_D", "did you mean CNN_d?"), ("resnet", "known: MLP, CNN_d"), ("", "CNN_d")],
)
def test_an_unknown_name_is_answered_with_the_nearest(given_name: str, ending: str) -> None:
    assert str(unknown("network", given_name, ["MLP", "CNN_d"])).endswith(ending)


@pytest.mark.parametrize("name", libraries.LIBRARIES.names())
def test_a_library_says_what_it_is_without_being_imported(name: str) -> None:
    library = libraries.load(name)
    assert library.name == name
    assert library.label == libraries.label(name)
    assert library.attacker or library.verifier
    assert set(library.to_json()["versions"]) == set(library.packages)


def test_a_library_that_is_none_is_refused(mine: Path) -> None:
    with pytest.raises(UsageError, match=r"is a str; it must be a bench.libraries.Library"):
        libraries.load(f"{mine}:other")
    assert libraries.label("theirs") == "theirs"


def test_a_library_that_is_missing_says_how_to_get_it() -> None:
    library = libraries.Library(name="far", label="Far", packages=("far-away",), install="pip install far-away")
    assert library.versions() == {"far-away": "not installed"}
    with pytest.raises(UsageError, match=r"library Far cannot be imported .*; install it with pip install far-away"):
        libraries.part(library, "far_away:ATTACKER")
