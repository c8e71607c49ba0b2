"""README and pages against what they speak of: links lead somewhere, commands are taken, blocks of Python run."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bench
from bench import data, networks
from bench.specs import GAP

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)]
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

MODULES = {
    "bench.run": "bench.run",
    "bench.train": "bench.train",
    "bench.report": "bench.report.__main__",
    "bench.check": "bench.check.__main__",
    "bench.export": "bench.export.__main__",
    "bench.score": "bench.score.__main__",
    "bench.guide.pictures": "bench.guide.pictures",
    "bench.guide.paths": "bench.guide.paths",
    "bench.guide.reference": "bench.guide.reference",
    "bench.guide.results": "bench.guide.results.__main__",
}
"""Where the parser of each command is."""


def slugs(path: Path) -> set[str]:
    """The addresses of a page's headings, as GitHub and MyST make them."""
    text = re.sub(r"(?ms)^```.*?^```", "", path.read_text())
    headings = re.findall(r"(?m)^#+ (.*)$", text)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_links_lead_to_a_page_and_a_heading(page: Path) -> None:
    text = re.sub(r"(?ms)^```.*?^```|`[^`\n]*`", "", page.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", target):
            assert re.fullmatch(r"https://[\w.-]+(/[\w./%#:~-]*)?", target), target
            continue
        name, _, heading = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert ROOT in path.parents, target
        assert not heading or heading in slugs(path), target


@every_page
def test_every_picture_says_what_it_shows(page: Path) -> None:
    for text in re.findall(r"!\[([^\]]*)\]", page.read_text()):
        assert len(text) > 20


def commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """The commands of a page in blocks of their own: the module and its words."""
    text = page.read_text().replace("\\\n", " ")
    for module, words in re.findall(r"(?m)^ {4}\S*python -m (bench[\w.]*)(.*)$", text):
        yield module, shlex.split(words, comments=True)


@every_page
def test_commands_are_taken(page: Path) -> None:
    for module, words in commands(page):
        if ">" in words or module not in MODULES:
            importlib.import_module(module)
            continue
        importlib.import_module(MODULES[module]).parser().parse_args(words)


def test_commands_are_found() -> None:
    found = [module for page in PAGES for module, _ in commands(page)]
    assert set(MODULES) <= {*found, "bench.train", "bench.guide.pictures"}
    assert len(found) > 20


def test_a_wrong_option_would_be_seen() -> None:
    with pytest.raises(SystemExit):
        importlib.import_module("bench.run").parser().parse_args(["--no-such-option"])


@every_page
def test_blocks_of_python_can_be_read(page: Path) -> None:
    for code in re.findall(r"(?ms)^```(?:python|\{code-cell\} ipython3)\n(.*?)^```", page.read_text()):
        ast.parse(re.sub(r"(?m)^:.*$", "", code))


def blocks(name: str) -> list[str]:
    """The blocks of Python of a page."""
    return re.findall(r"(?ms)^```python\n(.*?)^```", (ROOT / name).read_text())


class Centred(torch.nn.Module):
    """A linear network that gives noise in a box several classes."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.low, self.high, self.layer = low, high, torch.nn.Linear(48, 4, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        unit = (images.flatten(1) - self.low) / (self.high - self.low)
        return torch.as_tensor(self.layer(8 * (unit - 0.5)))


@pytest.mark.parametrize(
    ("name", "seen"),
    [("README.md", (0, 255)), ("docs/howto/own_network.md", (0, 1)), ("docs/howto/cifar.md", (-2, 2))],
)
def test_a_network_of_ones_own_is_evaluated_as_the_page_says(
    name: str, seen: tuple[float, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = torch.from_numpy(np.random.default_rng(0).random((6, 3, 4, 4), dtype=np.float32))
    network = Centred(*seen)
    small = {"attacks": ["foolbox-ddn-l2", "foolbox-fmn-linf"], "workers": 0, "progress": False, "samples": 4}
    evaluate = bench.evaluate
    monkeypatch.setattr(bench, "evaluate", lambda *given, **options: evaluate(*given, **{**options, **small}))
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(name)
    images = images * 255 if "box=(0, 255)" in code else images
    labels = network((images - 0.47) / 0.25 if "normalize" in code else images).argmax(1)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, labels), batch_size=3)
    space = {"network": network, "images": images, "labels": labels, "loader": loader}
    exec(compile(code, name, "exec"), space)
    result = space["result"]
    assert isinstance(result, bench.Result)
    assert np.isfinite(result.distances("l2").to_numpy()).all()
    assert (result.distances("linf").to_numpy() > 0).any()
    assert (tmp_path / "report.html").exists() == ("to_html" in code)


def test_the_classifiers_of_the_libraries_are_made_as_the_page_says() -> None:
    (code,) = blocks("docs/howto/libraries.md")
    space: dict[str, object] = {}
    exec(compile(code, "libraries.md", "exec"), space)
    assert type(space["art"]).__mro__[1].__name__ == "PyTorchClassifier"
    images, _ = data.tensors("mnist", n=3)
    logits = networks.load("CNN")(images).detach().numpy()
    np.testing.assert_allclose(space["art"].predict(images.numpy()), logits, rtol=1e-4, atol=1e-4)  # type: ignore[attr-defined]


def test_a_stored_run_is_read_as_the_page_says(tmp_path: Path) -> None:
    options: dict[str, Any] = {"attacks": ["foolbox-deepfool-l2"], "samples": 3, "workers": 0, "progress": False}
    bench.evaluate("MLP_digits", "digits", norms=["l2"], out=tmp_path / "run", **options)
    (code,) = [block for block in blocks("docs/howto/records.md") if "open_run" in block]
    space: dict[str, object] = {}
    exec(compile(code.replace("results/<run>", str(tmp_path / "run")), "records.md", "exec"), space)
    assert isinstance(space["result"], bench.Result)


def test_the_verifier_closes_the_gap_as_the_page_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    evaluate = bench.evaluate
    monkeypatch.setattr(
        bench, "evaluate", lambda *given, **options: evaluate(*given, **options, workers=0, progress=False)
    )
    (code,) = blocks("docs/explanation/verifier.md")
    space: dict[str, Any] = {}
    exec(compile(code, "verifier.md", "exec"), space)
    records = space["result"].records
    assert len(records) > 0
    assert (records["lower"] > 0).all()
    assert (records["lower"] <= records["l2"]).all()
    assert (records["lower"] >= records["l2"] * (1 - GAP - 1e-9)).all()
