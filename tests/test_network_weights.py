"""Factories with arguments, and files of weights."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from anywhere import MAKE, layers, loaded, prefixed
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.errors import NetworkError
from bench.networks.weights import fill


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(MAKE)
    return path


def test_a_factory_gets_its_arguments(file: Path) -> None:
    made = loaded(f"{file}:make(7, classes=5, act='tanh')")
    assert isinstance(made.module, nn.Sequential)
    assert [str(layer).partition(", bias")[0] for layer in made.module] == [
        "Linear(in_features=4, out_features=7",
        "Tanh()",
        "Linear(in_features=7, out_features=5",
    ]
    assert made.notes == ()
    with pytest.raises(NetworkError, match=r"net.py:make\(depth=3\) raises TypeError: .*'depth'"):
        loaded(f"{file}:make(depth=3)")
    with pytest.raises(NetworkError, match=r"instance is a module and takes no arguments; leave out \(3\)"):
        loaded(f"{file}:instance(3)")


@pytest.mark.parametrize(
    ("change", "notes"),
    [
        (lambda state: state, ()),
        (lambda state: {"state_dict": state, "epoch": 3}, ("weights: entry 'state_dict' of the file",)),
        (lambda state: {"model": state, "optimizer": {}}, ("weights: entry 'model' of the file",)),
        (lambda state: {"model_state_dict": prefixed("module.", state)}, ("weights: entry 'model_state_dict' of the file", "weights: prefix 'module.' left out")),
        (lambda state: {"model": {"state_dict": state}}, ("weights: entry 'model' of the file", "weights: entry 'state_dict' of the file")),
        (lambda state: prefixed("_orig_mod.", state), ("weights: prefix '_orig_mod.' left out",)),
        (lambda state: prefixed("model.", state), ("weights: prefix 'model.' left out",)),
        (lambda state: prefixed("module._orig_mod.", state), ("weights: prefix 'module._orig_mod.' left out",)),
        (lambda state: {name: value.half() for name, value in state.items()}, ("weights: float16 as float32",)),
        (lambda state: {name: value.bfloat16() for name, value in state.items()}, ("weights: bfloat16 as float32",)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ending", [".pt", ".pth", ".bin", ".safetensors"])
def test_weights_are_taken_as_trainers_leave_them(
    tmp_path: Path, change: Callable[[Mapping[str, Tensor]], Any], notes: tuple[str, ...], ending: str
) -> None:
    state = {name: value.half().float() for name, value in layers().state_dict().items()}
    content = change(state)
    path = tmp_path / f"w{ending}"
    if ending == ".safetensors":
        if not all(isinstance(value, Tensor) for value in content.values()):
            return
        save_file(content, path)
    else:
        torch.save(content, path)
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    assert fill(module, path.read_bytes(), path) == notes
    for name, value in module.state_dict().items():
        assert value.dtype is torch.float32
        assert torch.allclose(value, state[name], rtol=0.01 if "bfloat16" in str(notes) else 0, atol=0)


def test_a_prefix_that_the_module_has_stays(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    module = nn.Sequential(OrderedDict(model=nn.Sequential(OrderedDict(model=nn.Linear(4, 3)))))
    torch.save(module.state_dict(), path)
    assert fill(module, path.read_bytes(), path) == ()
    torch.save(prefixed("model.", module.state_dict()), path)
    assert fill(module, path.read_bytes(), path) == ("weights: prefix 'model.' left out",)
    torch.save(prefixed("other.", module.state_dict()), path)
    with pytest.raises(NetworkError, match=r"do not fit the network: .*Missing key.*other\.model"):
        fill(module, path.read_bytes(), path)


class Executed(nn.Linear):
    """A module whose pickle executes code when it is read."""

    ran: list[int] = []  # noqa: RUF012 - seen from outside

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.ran.append(1)
        super().__setstate__(state)


def test_a_whole_module_is_not_unpickled_and_the_advice_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "whole.pt"
    network = Executed(4, 3)
    torch.save(network, path)
    with pytest.raises(
        NetworkError, match=r"hold Python objects beside tensors .* would execute code of the file"
    ) as raised:
        fill(nn.Linear(4, 3), path.read_bytes(), path)
    assert not Executed.ran
    lines = re.search(r"these two lines: (module = .*?); (torch\.save\(.*?\))\. Of a dict", str(raised.value))
    assert lines is not None
    names: dict[str, Any] = {"torch": torch}
    for line in lines.groups():
        exec(line, names)
    plain = tmp_path / "whole-weights.pt"
    target = nn.Linear(4, 3)
    assert fill(target, plain.read_bytes(), plain) == ()
    assert torch.equal(target.weight, network.weight)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"junk" * 99, "are no file of torch.save, or are damaged"),
        (b"", "are no file of torch.save, or are damaged"),
        ([1, 2], "hold a list, and no state dict"),
        (torch.zeros(3), "hold a Tensor, and no state dict"),
        ({"epoch": 3, "lr": 0.1}, "hold a dict with the entries epoch, lr, and no state dict"),
        ({}, "hold a dict with no entry, and no state dict"),
        ({"0.weight": torch.zeros(2, 2)}, "do not fit the network"),
    ],
)
def test_files_that_hold_no_weights_are_a_line(tmp_path: Path, content: Any, complaint: str) -> None:
    path = tmp_path / "w.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(NetworkError, match=complaint):
        fill(layers(), path.read_bytes(), path)


@pytest.mark.filterwarnings("ignore")
def test_a_script_is_not_executed(tmp_path: Path) -> None:
    path = tmp_path / "script.pt"
    torch.jit.save(torch.jit.trace(layers(), torch.zeros(1, 4)), str(path))
    with pytest.raises(NetworkError, match=r"are a TorchScript archive, .*torch\.jit\.load\('script.pt'"):
        fill(layers(), path.read_bytes(), path)
