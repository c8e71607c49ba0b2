"""Networks from anywhere: what may be typed, files of weights, libraries, ONNX, outputs, and standardisation."""

from __future__ import annotations

import json
import re
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from damage import is_one_line
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1

import bench
from bench import networks, run, store
from bench.certify import reading
from bench.domain import Domain
from bench.engine import trust
from bench.engine.request import Request
from bench.errors import NetworkError, UsageError
from bench.networks import NetworkSpec, grammar, makers, specs
from bench.networks.outputs import Picked
from bench.networks.weights import fill
from bench.problem import Standardised
from bench.report import __main__ as report

# --- what may be typed

LITERALS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)  # fmt: skip
IDENTIFIERS = st.from_regex(r"[a-z]{1,4}_[a-z0-9]{0,4}", fullmatch=True)
ODD = st.text(st.sampled_from("ab @(=).:/'\",#[]é"), max_size=12)


@given(
    named=st.booleans(),
    place=st.sampled_from(["net.py:make", "some.module:make", "torchvision:resnet18", "timm:vit_tiny.in1k", "/a=b/net.py:make"]),
    placed=st.lists(LITERALS, max_size=2),
    keywords=st.dictionaries(IDENTIFIERS, LITERALS, max_size=2),
    weights=st.none() | ODD.map(lambda text: f"w{text}"),
)  # fmt: skip
def test_a_text_is_what_it_was_made_of(
    named: bool, place: str, placed: list[Any], keywords: dict[str, Any], weights: str | None
) -> None:
    arguments = ", ".join([*map(repr, placed), *(f"{name}={value!r}" for name, value in keywords.items())])
    text = f"{'mine=' if named else ''}{place}({arguments}){'' if weights is None else f'@{weights}'}"
    (spec,) = specs([text])
    assert grammar.values(spec.arguments) == (placed, keywords)
    assert spec.source is not None
    assert spec.source.endswith(place)
    assert spec.weights == (None if weights is None else str(Path(weights).resolve()))
    assert spec.name == ("mine" if named else place.rpartition(":")[2])
    assert specs([spec.text]) == (spec,)


@given(
    text=st.builds("{}{}{}{}".format, st.sampled_from(["", "x=", "MLP", "onnx:", "torchvision:", "live:"]), ODD, st.sampled_from(["", "n.py", ".onnx", ":f", "n.py:f", "(1)", "(a=1)", "@w"]), ODD)
)  # fmt: skip
def test_any_text_reads_back_as_it_was_read_or_is_a_line(text: str) -> None:
    try:
        found = specs([text])
    except UsageError as error:
        assert str(error)  # noqa: PT017 - the other outcome is allowed as well
    else:
        assert specs(spec.text for spec in found) == found


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("f.py:make(width=x)", "width is no Python literal; nothing is computed"),
        ("f.py:make(open('x'))", "an argument is no Python literal"),
        ("f.py:make(1 + 1)", "an argument is no Python literal"),
        ("f.py:make(a=1, a=2)", "argument a is given twice"),
        ("f.py:make(*[1])", "each argument by itself, without stars"),
        ("f.py:make(**{'a': 1})", "each argument by itself, without stars"),
        ("f.py:make(", r"'\(' are no arguments; write them as in Python, such as \(width=32"),
        ("f.py:make(1)(2)", "are no arguments"),
        ("f.py:make(1)x", "are no arguments"),
        (f"f.py:make({'(' * 3000}1{')' * 3000})", "are no arguments|is no Python literal"),
        ("f.py:make@", "names no file of weights behind '@'"),
        ("f.py(width=1)", "has no factory; give .* after a colon: f.py:make"),
        ("MLP(1)", "a network of the zoo has its own weights and takes no arguments; give MLP alone"),
        ("MLP@w.safetensors", "a network of the zoo has its own weights"),
        ("torchvision:", "names no model; give torchvision:resnet18"),
        ("timm:a/b", "names no model; give timm:resnet18"),
        ("onnx:f.pt", "an ONNX file's name ends with .onnx"),
        ("onnx:f.onnx@w.safetensors", "without arguments and weights, which are in the file"),
        ("onnx:2 nets.onnx", "'2 nets' cannot name a network; give name=onnx:2 nets.onnx"),
        ("ResNet18", "known: MLP, .*path/to/file.py:factory, module:factory, torchvision:NAME, timm:NAME, onnx:file.onnx"),
    ],
)  # fmt: skip
def test_what_is_mistyped_is_a_line(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as raised:
        specs([text])
    assert "\n" not in str(raised.value)


def test_a_folder_that_can_be_read_in_two_ways_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a.py:b@c"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(UsageError, match="can be read in two ways; use folders without"):
        specs(["net.py:make"])


def test_one_factory_is_several_networks_with_weights_of_their_own() -> None:
    found = specs(["a=f.py:make(2)@a.pt", "b=f.py:make(2)@b.pt", "MLP"])
    assert [Path(str(spec.weights)).name for spec in found[:2]] == ["a.pt", "b.pt"]
    with pytest.raises(UsageError, match=r"--weights w.pt needs exactly one .*file.py:factory@weights"):
        specs(["a=f.py:make", "b=f.py:make"], "w.pt")
    with pytest.raises(UsageError, match=r"network make takes its weights from .*a.pt; leave out --weights w.pt"):
        specs(["f.py:make@a.pt"], "w.pt")
    with pytest.raises(UsageError, match="network f has its weights in its ONNX file; leave out --weights"):
        specs(["onnx:f.onnx"], "w.pt")
    assert specs(["f.py:make"], "w.pt") == specs(["f.py:make@w.pt"])


# --- factories with arguments

MAKE = """
import torch
from torch import nn

def make(width=4, *, classes=3, act="relu"):
    torch.manual_seed(width)
    acts = {"relu": nn.ReLU, "tanh": nn.Tanh}
    return nn.Sequential(nn.Linear(4, width), acts[act](), nn.Linear(width, classes))

instance = make()
"""

POINTS = Domain(shape=(4,), classes=3, low=0.0, high=1.0)
BINARY = Domain(shape=(4,), classes=2, low=0.0, high=1.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(MAKE)
    return path


def loaded(text: str, domain: Domain | None = POINTS, **how: Any) -> networks.Source:
    (spec,) = specs([text], how.pop("weights", None), how.pop("normalize", None))
    return networks.source(spec, "cpu", domain, **how)


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


# --- weights


def layers() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))


def prefixed(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


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


# --- outputs


class Returning(nn.Module):
    def __init__(self, after: Callable[[Tensor], Any], classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.body = nn.Linear(4, classes)
        self.after = after

    def forward(self, images: Tensor) -> Any:
        return self.after(self.body(images))


class ModelOutput(OrderedDict[str, Any]):
    """As Hugging Face's: a mapping whose entries are attributes too."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


@dataclass
class Answer:
    logits: Tensor
    loss: None = None


Pair = namedtuple("Pair", ["logits", "aux"])  # noqa: PYI024 - as torchvision has them

TAKEN: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "a tuple": (lambda z: (z, z[:, :2]), "output: entry 0 of a tuple"),
    "the second": (lambda z: [None, z.mean(), z], "output: entry 2 of a list"),
    "a dict": (lambda z: {"logits": z, "features": z}, "output: key 'logits' of a dict"),
    "another key": (lambda z: {"out": z, "mask": z > 0}, "output: key 'out' of a dict"),
    "an output": (lambda z: ModelOutput(loss=z.mean(), logits=z), "output: key 'logits' of a ModelOutput"),
    "an object": (Answer, "output: attribute 'logits' of a Answer"),
    "a named tuple": (lambda z: Pair(z, z), "output: attribute 'logits' of a Pair"),
}


def taken(module: nn.Module, domain: Domain) -> networks.Source:
    with networks.live({"mine": module}):
        return networks.source(NetworkSpec("mine", "live:mine"), "cpu", domain)


@pytest.mark.parametrize("what", TAKEN)
def test_logits_are_found_in_what_a_network_returns(what: str) -> None:
    after, note = TAKEN[what]
    module = Returning(after)
    made = taken(module, POINTS)
    images = torch.rand(5, 4)
    assert torch.equal(made.module(images), module.body(images))
    assert made.notes == (note,)
    assert isinstance(made.module, Picked)
    assert not made.module.training
    networks.check_output(made.module, POINTS, "mine")


@pytest.mark.parametrize(
    "after",
    [lambda z: (z, 2 * z), lambda z: {"a": z, "b": z}, lambda z: {"a": z[:, :1], "b": z[:, :2]}],
)
def test_several_tensors_that_may_be_the_logits_are_named(after: Callable[[Tensor], Any]) -> None:
    with pytest.raises(
        NetworkError, match=r"network mine returns a (tuple|dict) with .*(0|'a') \(3, \d\).*logits of 3 classes; return"
    ):
        taken(Returning(after), POINTS)


@pytest.mark.parametrize(
    ("after", "notes"),
    [
        (lambda z: z, 1),
        (lambda z: z[:, 0], 1),
        (lambda z: z.squeeze(), 1),
        (lambda z: {"logit": z}, 2),
        (lambda z: (z[:, 0],), 2),
    ],
)
def test_one_logit_is_two(after: Callable[[Tensor], Any], notes: int) -> None:
    module = Returning(after, classes=1)
    made = taken(module, BINARY)
    for n in (1, 2, 5):
        images = torch.rand(n, 4)
        z = module.body(images)
        assert torch.equal(made.module(images), torch.cat([torch.zeros_like(z), z], 1))
    assert len(made.notes) == notes
    assert made.notes[-1] == "one logit z read as two: (0, z)"
    # Of ten classes one logit is none.
    assert taken(Returning(lambda z: z, classes=1), POINTS).notes == ()


def test_a_verifier_reads_a_network_of_one_logit_that_is_standardised() -> None:
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
    with networks.live({"mine": module}):
        spec = NetworkSpec("mine", "live:mine", normalize=((0.1, 0.2, 0.3, 0.4), (0.5,)))
        made = networks.source(spec, "cpu", BINARY)
    images = torch.rand(3, 4)
    plain = reading.read(made.module, images)
    expected = made.module(images)
    assert np.allclose(plain.logits(images.numpy()), expected.numpy(), atol=1e-6)
    z = module((images - torch.tensor([0.1, 0.2, 0.3, 0.4])) / torch.tensor(0.5))
    assert torch.equal(expected[:, 1:], z)


@pytest.mark.parametrize("domain", [POINTS, None])
def test_a_plain_network_stays_what_it_is(file: Path, domain: Domain | None) -> None:
    made = loaded(f"{file}:make", domain)
    assert type(made.module) is nn.Sequential
    assert networks.fingerprint(made.module) == networks.fingerprint(loaded(f"{file}:make", None).module)
    assert made.notes == ()


# --- standardisation


@pytest.mark.parametrize(
    ("domain", "pair"),
    [
        (Domain(shape=(3, 5, 5), classes=3, low=0, high=1, channel_axis=0), ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))),
        (Domain(shape=(5, 5, 3), classes=3, low=0, high=255, channel_axis=2), ((0.4, 0.5, 0.6), (3.0,))),
        (Domain(shape=(5, 15), classes=3, low=0, high=1), ((0.1307,), (0.3081,))),
    ],
)
def test_inputs_are_standardised_as_torchvision_does(domain: Domain, pair: Any) -> None:
    images = torch.rand(4, *domain.shape)
    module = nn.Sequential(nn.Flatten(), nn.Linear(75, 3))
    with networks.live({"mine": module}):
        made = networks.source(NetworkSpec("mine", "live:mine", normalize=pair), "cpu", domain)
    mean, std = (torch.tensor(part).reshape([len(part) if i == domain.channel_axis else 1 for i in range(len(domain.shape))]) for part in pair)  # fmt: skip
    assert torch.equal(made.module(images), module((images - mean) / std))
    assert isinstance(next(made.module.children()), Standardised)
    plain = reading.read(made.module, images)
    assert np.allclose(plain.logits(images.flatten(1).numpy()), made.module(images).numpy(), atol=1e-5)
    assert made.notes[0].startswith("standardised inside: (input - 0.")


@pytest.mark.parametrize(
    ("pair", "complaint"),
    [
        (((0.0,), (0.0,)), "STD 0 is not possible; give a finite number above 0"),
        (((0.0,), (-1.0,)), "STD -1 is not possible"),
        (((0.0,), (1e-300,)), "STD 1e-300 is not possible"),
        (((float("nan"),), (1.0,)), "MEAN nan is not possible; give a finite number"),
        (((), (1.0,)), "MEAN is empty"),
    ],
)
def test_what_cannot_be_divided_by_is_refused(pair: Any, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        specs(["f.py:make"], None, pair)


def test_a_standardisation_needs_a_network_and_the_right_number_of_values(file: Path) -> None:
    with pytest.raises(UsageError, match="is for networks of one's own; those of the bench take the data as they are"):
        specs(["MLP"], None, ((0.0,), (1.0,)))
    mixed = specs(["MLP", f"{file}:make"], None, ((0.0,), (1.0,)))
    assert [spec.normalize for spec in mixed] == [None, ((0.0,), (1.0,))]
    with pytest.raises(
        UsageError, match=r"MEAN has 2 numbers; inputs of shape \(4,\) take 1, or 4, one for each value"
    ):
        loaded(f"{file}:make", normalize=((0.0, 1.0), (1.0,)))
    with pytest.raises(NetworkError, match="say the domain of its inputs"):
        loaded(f"{file}:make", None, normalize=((0.0,), (1.0,)))


# --- torchvision and timm

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


# --- ONNX


def written(
    path: Path, *, batch: int | str = "n", opset: int = 18, rows: int = -1, beside: bool = False
) -> nn.Sequential:
    """An ONNX file of (batch, 2, 2) inputs: reshaped, two linear layers; and the network that it is."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx2torch")
    helper, numpy_helper, kind = onnx.helper, onnx.numpy_helper, onnx.TensorProto.FLOAT
    network = nn.Sequential(nn.Flatten(), *layers()).eval()
    with torch.no_grad():
        # So that several classes occur.
        list(network.parameters())[-1].sub_(network(torch.rand(50, 2, 2)).mean(0))
    named = {name.replace(".", "_"): value.numpy() for name, value in network.state_dict().items()}
    nodes = [
        helper.make_node("Reshape", ["x", "lengths"], ["flat"], allowzero=1),
        helper.make_node("Gemm", ["flat", "1_weight", "1_bias"], ["hidden"], transB=1),
        helper.make_node("Relu", ["hidden"], ["positive"]),
        helper.make_node("Gemm", ["positive", "3_weight", "3_bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", kind, [batch, 2, 2])],
        [helper.make_tensor_value_info("logits", kind, [batch, 3])],
        [
            *(numpy_helper.from_array(value, name) for name, value in named.items()),
            numpy_helper.from_array(np.array([rows, 4]), "lengths"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    where = {"save_as_external_data": True, "location": f"{path.name}.data", "size_threshold": 60} if beside else {}
    onnx.save_model(model, str(path), **where)
    return network


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


# --- whole runs


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
