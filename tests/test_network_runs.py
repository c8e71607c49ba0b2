"""Runs of networks from anywhere: attacked, stored, resumed, verified."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from anywhere import prefixed, written
from damage import is_one_line
from torch import nn

import bench
from bench import run, store
from bench.engine import trust
from bench.engine.request import Request
from bench.errors import UsageError
from bench.networks import NetworkSpec, specs
from bench.report import __main__ as report


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of two classes, a factory of one logit inside a dict, and its weights as a trainer leaves them."""
    folder = tmp_path_factory.mktemp("anywhere")
    (folder / "net.py").write_text(
        "import torch\nfrom torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, width):\n"
        "        super().__init__()\n"
        "        self.body = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 1))\n"
        "    def forward(self, x):\n"
        "        return {'logits': self.body(x)}\n"
        "def make(width=2):\n    return Net(width)\n"
    )
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    with torch.no_grad():
        list(body.parameters())[-1].zero_()
    torch.save({"state_dict": prefixed("module.body.", body.state_dict())}, folder / "a.pt")
    inputs = torch.rand(8, 4)
    with torch.no_grad():
        z = body((inputs - 0.5) / 0.25)
        list(body.parameters())[-1].sub_(z.mean())  # so that both classes occur
    torch.save({"state_dict": prefixed("module.body.", body.state_dict())}, folder / "b.pt")
    labels = (body((inputs - 0.5) / 0.25)[:, 0] > 0).long()
    np.savez(folder / "points.npz", images=inputs.numpy(), labels=labels.numpy())
    return folder


def command(folder: Path, *words: str) -> list[str]:
    return [
        "--suite", "smoke", "--data", str(folder / "points.npz"), "--box", "0", "1", "--attacks", "foolbox-ddn-l2", "--workers", "0",
        "--out", str(folder), "--name", "run", *words,
    ]  # fmt: skip


def test_a_run_of_networks_from_anywhere(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    texts = [f"{name}={folder}/net.py:make(width=8)@{folder}/{name}.pt" for name in "ab"]
    assert run.main(command(folder, "--networks", *texts, "--normalize", "0.5", "0.25")) == 0
    output = capfd.readouterr().out
    notes = [
        "weights: entry 'state_dict' of the file",
        "weights: prefix 'module.' left out",
        "standardised inside: (input - 0.5) / 0.25",
        "output: key 'logits' of a dict",
        "one logit z read as two: (0, z)",
    ]
    for name in "ab":
        for note in notes:
            assert output.count(f"network {name}: {note}\n") == 1
    stored = store.read(folder / "run")
    for entry in stored.manifest["networks"]:
        assert (entry["notes"], entry["arguments"], entry["normalize"]) == (notes, "(width=8)", [[0.5], [0.25]])
    assert stored.manifest["request"]["networks"] == texts
    page = (folder / "run" / "report.html").read_text()
    assert "one logit z read as two: (0, z)" in page
    assert "make(width=8), weights" in page
    records = stored.records()
    assert set(records.loc[records["network"] == "b", "status"]) == {"found"}
    # Distances are in the data's own units: the network itself finds the example of another class.
    examples = stored.candidates("b", "foolbox-ddn-l2")
    images = dict(zip(*(values.tolist() for values in stored.images()), strict=True))
    for record in records[records["network"] == "b"].to_dict("records"):
        change = np.asarray(examples[record["image"]], dtype=np.float64) - np.asarray(images[record["image"]])
        assert np.linalg.norm(change) == pytest.approx(record["l2"], rel=1e-6)
    # Going on and judging again execute the factory, so both want trust; then both agree with what is stored.
    for main, words in (
        (run.main, ["--resume", str(folder / "run")]),
        (report.main, ["--verify", str(folder / "run")]),
    ):
        capfd.readouterr()
        assert main([*words, "--workers", "0"]) == 2
        errors = capfd.readouterr().err
        assert is_one_line(errors)
        assert "net.py for network a, network b" in errors
        assert main([*words, "--workers", "0", "--trust"]) == 0, capfd.readouterr()


def test_an_onnx_run_needs_no_trust_and_notices_another_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    network = written(tmp_path / "net.onnx")
    inputs = torch.rand(12, 2, 2)
    np.savez(tmp_path / "points.npz", images=inputs.numpy(), labels=network(inputs).argmax(1).numpy())
    assert run.main(command(tmp_path, "--networks", f"onnx:{tmp_path}/net.onnx")) == 0, capfd.readouterr()
    assert report.main(["--verify", str(tmp_path / "run"), "--workers", "0"]) == 0, capfd.readouterr()
    assert run.main(["--resume", str(tmp_path / "run"), "--workers", "0"]) == 0
    content = (tmp_path / "net.onnx").read_bytes()
    (tmp_path / "net.onnx").write_bytes(content.replace(b"logits", b"LOGITS"))
    capfd.readouterr()
    assert run.main(["--resume", str(tmp_path / "run"), "--workers", "0"]) == 2
    errors = capfd.readouterr().err
    assert is_one_line(errors)
    assert "code of net was sha256" in errors


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--networks", "MLP", "--normalize", "0", "1"], "--normalize MEAN STD is for networks of one's own"),
        (
            ["--networks", "{}:make", "--normalize", "x", "1"],
            "argument --normalize: 'x' is not possible; give a number",
        ),
        (
            ["--networks", "{}:make", "--normalize", "0,1", "1"],
            r"MEAN has 2 numbers; inputs of shape \(4,\) take 1, or 4",
        ),
        (["--networks", "{}:make", "--normalize", "-0.5,-1", "0"], "STD 0 is not possible"),
        (["--networks", "{}:make(width=wide)"], "width is no Python literal"),
        (["--networks", "{}:make(depth=2)"], "raises TypeError"),
        (["--networks", "{}:make@none.pt"], "weights .*none.pt cannot be read: No such file"),
        (["--networks", "torchvision:resnet19"], "torchvision has no classifier 'resnet19'"),
        (["--networks", "x=onnx:none.onnx"], "there is no file|needs onnx"),
        (["--networks", "{}:make", "--download"], "--download does not apply to"),
    ],
)
def test_each_mistake_is_a_line(
    folder: Path, capfd: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    given = [word.format(folder / "net.py") for word in words]
    try:
        code = run.main([*command(folder), *given, "--name", "none"])
    except SystemExit as end:
        code = int(str(end.code))
    errors = capfd.readouterr().err
    assert code == 2
    assert is_one_line(errors)
    assert re.search(complaint, errors), errors
    assert not (folder / "none").exists()


def test_only_what_executes_files_needs_trust(folder: Path) -> None:
    def named(*sources: str) -> list[str]:
        content = {
            "data": {"source": "torchvision:CIFAR10"},
            "networks": [{"name": f"n{number}", "source": source} for number, source in enumerate(sources)],
            "rows": [],
            "request": {
                "suite": "smoke",
                "networks": [f"r{number}={source}(a=1)@w.pt" for number, source in enumerate(sources)],
            },
        }
        if any(source.startswith("onnx:") for source in sources):
            del content["request"]
        return [code.what for code in trust.named(content)]

    assert named("torchvision:resnet18", "timm:resnet18.a1_in1k") == []
    assert named("onnx:/there/net.onnx") == []
    assert named(f"{folder}/net.py:make", "torchvision.models:resnet18") == [
        "network n0",
        "network n1",
        "network r0",
        "network r1",
    ]


def test_from_python(folder: Path) -> None:
    with np.load(folder / "points.npz") as points:
        images, labels = points["images"], points["labels"]
    result = bench.evaluate(
        {"mine": f"{folder}/net.py:make(width=8)@{folder}/b.pt"},
        images,
        labels,
        box=(0, 1),
        normalize=(0.5, [0.25]),
        attacks=["foolbox-ddn-l2"],
        suite="smoke",
        workers=0,
        progress=False,
    )
    assert bool((result.distances("l2").to_numpy() > 0).all())
    assert result.run.manifest["networks"][0]["normalize"] == [[0.5], [0.25]]
    with pytest.raises(UsageError, match="give \\(mean, deviation\\), a number each"):
        bench.evaluate("MLP", normalize="wide")  # type: ignore[arg-type]


def test_a_run_of_before_reads_its_networks_and_weights(folder: Path) -> None:
    before = {"suite": "smoke", "networks": [f"make={folder}/net.py:make"], "weights": f"{folder}/b.pt"}
    request = Request.from_json(json.loads(json.dumps(before)))
    (spec,) = specs(request.networks, request.weights, request.normalize)
    assert spec == NetworkSpec("make", f"{folder}/net.py:make", f"{folder}/b.pt")
    assert Request.from_json(json.loads(json.dumps(request.to_json()))) == request
