"""Networks of torchvision and timm, and of ONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from anywhere import MAKE, POINTS, loaded, prefixed, written
from safetensors.torch import save_file
from torch import nn
from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1

from bench import networks
from bench.certify import reading
from bench.domain import Domain
from bench.errors import NetworkError, UsageError
from bench.networks import makers


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(MAKE)
    return path


PICTURES = Domain(shape=(3, 32, 32), classes=5, low=0.0, high=1.0, channel_axis=0)


def test_a_model_of_torchvision_takes_weights_and_arguments(tmp_path: Path) -> None:
    made = loaded("torchvision:squeezenet1_1(num_classes=5, weights=None)", PICTURES)
    save_file(made.module.state_dict(), tmp_path / "w.safetensors")
    again = loaded(f"torchvision:squeezenet1_1(num_classes=5)@{tmp_path}/w.safetensors", PICTURES)
    assert networks.fingerprint(again.module) == networks.fingerprint(made.module)
    assert (again.code, again.files, again.notes) == (None, {}, ())
    networks.check_output(again.module, PICTURES, "squeezenet1_1")


def test_trained_weights_are_taken_from_this_machine_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(
        NetworkError, match=r"trained weights are not on this machine \(.*squeezenet1_1-.*\.pth\); add --download"
    ):
        loaded("torchvision:squeezenet1_1", PICTURES)
    file = makers._of_hub(SqueezeNet1_1_Weights.DEFAULT.url)
    file.parent.mkdir()
    torch.save(squeezenet1_1().state_dict(), file)
    made = loaded("torchvision:squeezenet1_1", PICTURES)
    assert made.notes == ("weights: torchvision's IMAGENET1K_V1",)
    assert made.module(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("torchvision:resnet19", "torchvision has no classifier 'resnet19'; did you mean resnet18"),
        ("torchvision:fcn_resnet50", "torchvision has no classifier 'fcn_resnet50'"),
        ("torchvision:squeezenet1_1(5)", r"give the arguments of squeezenet1_1 by keyword, such as \(num_classes=10\)"),
        ("torchvision:squeezenet1_1(weights='V9')", "has no weights 'V9'; it has IMAGENET1K_V1, DEFAULT"),
        ("torchvision:squeezenet1_1(depth=5, weights=None)", "raises TypeError: .*'depth'"),
    ],
)
def test_models_that_torchvision_has_not_are_a_line(text: str, complaint: str) -> None:
    with pytest.raises((NetworkError, UsageError), match=complaint):
        loaded(text, PICTURES)


def test_a_model_of_timm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("timm")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    made = loaded("timm:mobilenetv3_small_050(num_classes=5, pretrained=False)", PICTURES)
    path = tmp_path / "w.pt"
    torch.save({"state_dict": prefixed("module.", made.module.state_dict())}, path)
    again = loaded(f"timm:mobilenetv3_small_050.lamb_in1k(num_classes=5)@{path}", PICTURES)
    assert networks.fingerprint(again.module) == networks.fingerprint(made.module)
    assert again.notes == ("weights: entry 'state_dict' of the file", "weights: prefix 'module.' left out")
    monkeypatch.setattr(makers, "_of_timm", lambda _: None)
    for text, complaint in {
        "timm:mobilenetv3_small_050": "trained weights are not on this machine .*add --download",
        "timm:mobilenetv3_smal_050": "timm has no classifier 'mobilenetv3_smal_050'; did you mean mobilenetv3_small_050",
        "timm:mobilenetv3_small_050.none": "Invalid pretrained tag",
        "timm:mobilenetv3_small_050(checkpoint_path='x.pt')": "argument checkpoint_path is not taken",
    }.items():
        with pytest.raises((NetworkError, UsageError), match=complaint):
            loaded(text, PICTURES)
    trained = tmp_path / "trained.safetensors"
    state = loaded("timm:mobilenetv3_small_050(pretrained=False)", PICTURES).module.state_dict()
    save_file(state, trained)
    monkeypatch.setattr(makers, "_of_timm", lambda _: trained)
    made = loaded("timm:mobilenetv3_small_050", PICTURES)
    assert all(torch.equal(value, state[name]) for name, value in made.module.state_dict().items())
    assert made.notes == ("weights: timm's lamb_in1k",)


@pytest.mark.parametrize(("text", "extra"), [("timm:resnet18", "timm"), ("x=onnx:none.onnx", "onnx")])
def test_an_extra_that_is_missing_says_how_to_install_it(
    text: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(makers, "find_spec", lambda _: None)
    with pytest.raises(NetworkError, match=rf"needs {extra}: pip install 'minimal-norm-bench\[{extra}\]'$"):
        loaded(text)


SQUARES = Domain(shape=(2, 2), classes=3, low=0.0, high=1.0)


@pytest.mark.parametrize(("opset", "beside"), [(18, False), (20, False), (20, True)])
def test_an_onnx_file_is_the_network_that_it_was(tmp_path: Path, opset: int, beside: bool) -> None:
    path = tmp_path / "net.onnx"
    network = written(path, opset=opset, beside=beside)
    made = loaded(f"onnx:{path}", SQUARES)
    images = torch.rand(5, 2, 2)
    assert torch.allclose(made.module(images), network(images), atol=1e-6)
    assert [type(layer) for layer in made.module.children()] == [type(layer) for layer in network]
    assert set(made.files) == {str(path), *([f"{path}.data"] if beside else [])}
    assert made.spec.name == "net"
    assert made.notes[0] == "converted from ONNX to torch; onnxruntime agrees within 0.0001 of the largest output"
    assert made.notes[1:] == (("ONNX operators of set 20 read as those of set 18",) if opset == 20 else ())
    reading.read(made.module, images)
    assert networks.sendable(made.module) == ""
    # Without a domain the file's own shape serves.
    assert loaded(f"onnx:{path}", None).files == made.files


def test_an_onnx_file_of_single_images_is_computed_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    network = written(path, batch=1, rows=1)
    made = loaded(f"onnx:{path}", SQUARES)
    images = torch.rand(5, 2, 2)
    assert torch.allclose(made.module(images), network(images), atol=1e-6)
    assert any("one by one" in note for note in made.notes) or isinstance(made.module, nn.Sequential)
    written(path, batch=8, rows=8)
    with pytest.raises(NetworkError, match="takes 8 images at a time, no more and no fewer"):
        loaded(f"onnx:{path}", SQUARES)


def test_a_conversion_that_disagrees_is_refused_with_the_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.onnx"
    written(path)
    onnx2torch = pytest.importorskip("onnx2torch")
    convert = onnx2torch.convert

    def wrongly(model: Any) -> nn.Module:
        module: nn.Module = convert(model)
        with torch.no_grad():
            next(module.parameters()).mul_(1.01)
        return module

    monkeypatch.setattr(onnx2torch, "convert", wrongly)
    with pytest.raises(
        NetworkError, match=r"its outputs and onnxruntime's differ by up to 0\.\d+ of the largest value, 0.0001 is"
    ):
        loaded(f"onnx:{path}", SQUARES)


def test_onnx_files_that_cannot_be_taken_are_a_line(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    written(path)
    with pytest.raises(NetworkError, match=r"takes inputs of shape \(2, 2\), this dataset's have \(4,\)"):
        loaded(f"onnx:{path}", POINTS)
    path.write_bytes(b"junk")
    with pytest.raises(NetworkError, match="cannot be read as an ONNX file"):
        loaded(f"onnx:{path}", SQUARES)
    with pytest.raises(NetworkError, match=r"there is no file .*none\.onnx"):
        loaded(f"onnx:{tmp_path}/none.onnx", SQUARES)
