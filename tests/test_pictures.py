"""The pictures of README and site."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import synthetic
from browsing import CHROMIUM
from PIL import Image

from bench import store
from bench.arguments import EXIT_USAGE
from bench.guide import pictures

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures") / "run"
    synthetic.write(synthetic.run(networks=("MLP", "CNN"), samples=8, seed=2), folder)
    return folder


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_both_pictures_are_made(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pictures.main([str(run), "--out", str(tmp_path / "new" / "folder")]) == 0
    names = capsys.readouterr().out.split()
    assert [Path(name).name for name in names] == ["report.png", "distribution.png"]
    screen, distribution = (Image.open(io.BytesIO(Path(name).read_bytes())) for name in names)
    assert screen.size == pictures.SCREEN
    assert len(np.unique(np.asarray(screen.convert("L")))) > 20, "it is not empty"
    assert distribution.convert("RGB").getpixel((0, 0)) == (254, 254, 254), "paper, also where a page is dark"
    assert all(Path(name).stat().st_size < 300_000 for name in names)


def test_a_norm_that_the_run_lacks_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pictures.main([str(run), "--norm", "l7"]) == EXIT_USAGE
    assert capsys.readouterr().err.startswith("error: unknown norm 'l7'; known: l0, l2")


def test_a_run_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pictures.main([str(tmp_path / "none")]) == EXIT_USAGE
    assert capsys.readouterr().err.startswith("error: ")


def test_without_a_browser_it_says_which_to_install(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert pictures.main([str(run)]) == EXIT_USAGE
    assert "install one of chromium" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["report.png", "distribution.png"])
def test_the_stored_pictures_are_small_and_of_a_stored_run(name: str) -> None:
    content = (ROOT / "docs" / "pictures" / name).read_bytes()
    assert len(content) < 300_000
    picture = Image.open(io.BytesIO(content))
    assert min(picture.size) > 400
    manifests = (ROOT / "results" / "reference").glob("*/manifest.json")
    assert picture.info[pictures.STAMP] in {store.digest(path.read_bytes()) for path in manifests}
