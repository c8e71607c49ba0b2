"""The four networks as shipped, and the ways to bring one's own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file, save_model
from torch import nn

from bench import data, networks
from bench.errors import BenchError, MachineError, NetworkError, UsageError
from bench.networks import NetworkSpec, loading
from bench.networks.trained import TRAINED

AT_LEAST = {
    "MLP": 0.9723, "MLP_d": 0.9724, "CNN": 0.9895, "CNN_d": 0.9910, "CNN_at_linf": 0.97, "CNN_at_l2": 0.97,
    "MLP_digits": 0.96, "MLP_cancer": 0.97,
}  # fmt: skip
PARAMETERS = {
    "MLP": 118_282, "MLP_d": 118_282, "CNN": 129_090, "CNN_d": 129_090, "CNN_at_linf": 129_090, "CNN_at_l2": 129_090,
    "MLP_digits": 3_466, "MLP_cancer": 530,
}  # fmt: skip


@pytest.mark.parametrize("name", TRAINED)
def test_a_shipped_network_is_as_good_as_its_record_says(name: str) -> None:
    network = networks.load(name)
    _, accuracy = networks.evaluate(network, *data.tensors(TRAINED[name].data))
    assert accuracy >= AT_LEAST[name]
    # Another machine's rounding may move an image that lies on a boundary.
    assert accuracy == pytest.approx(networks.pinned(name)["test_accuracy"], abs=3e-4)


@pytest.mark.parametrize("name", TRAINED)
def test_a_shipped_network_is_ready_to_be_attacked(name: str) -> None:
    network = networks.load(name)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    images, _ = data.tensors(TRAINED[name].data, n=3)
    assert network(images).shape == (3, data.find(TRAINED[name].data).domain.classes)
    assert torch.equal(network(images), network(images))


@pytest.mark.parametrize("name", TRAINED)
def test_the_hyperparameters_are_those_of_the_class(name: str) -> None:
    cls = TRAINED[name]
    if name in ("MLP", "MLP_d", "CNN", "CNN_d"):
        assert (cls.epochs, cls.batch_size, cls.lr) == (30, 32, 3e-4)
    assert cls.optimizer is torch.optim.Adam
    assert isinstance(cls.loss(), nn.CrossEntropyLoss)
    pinned = networks.pinned(name)
    assert (pinned["epochs"], pinned["batch_size"], pinned["lr"]) == (cls.epochs, cls.batch_size, cls.lr)


@pytest.mark.parametrize(("name", "places"), [("MLP", 0), ("MLP_d", 2), ("CNN", 0), ("CNN_d", 2)])
def test_the_d_networks_have_dropout(name: str, places: int) -> None:
    dropouts = [module for module in TRAINED[name]() if isinstance(module, nn.Dropout)]
    assert [module.p for module in dropouts] == [0.4] * places


def test_damaged_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in loading.WEIGHTS.glob("MLP.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = tmp_path / "MLP.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    monkeypatch.setattr(loading, "WEIGHTS", tmp_path)
    with pytest.raises(NetworkError, match=r"are not those that were shipped: SHA-256 .* bench.train MLP --save"):
        networks.load("MLP")


OWN = """
import torch
from torch import nn

def good():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

def MLP():
    return good()

def nothing():
    return None

def wide():
    return nn.Conv2d(1, 3, 3)

def narrow():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 1))

def misfit():
    return nn.Linear(3, 10)

def broken():
    raise RuntimeError("out of cheese")

number = 5
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


def test_a_users_network_is_loaded_from_its_file(own: Path) -> None:
    (spec,) = networks.specs([f"{own}:good"])
    assert spec == NetworkSpec("good", f"{own}:good")
    network = networks.load(spec)
    assert not network.training
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_a_users_network_never_takes_a_shipped_name(own: Path) -> None:
    assert [spec.name for spec in networks.specs(["MLP", f"{own}:MLP"])] == ["MLP", "MLP_own"]


def test_weights_fill_the_users_network(own: Path, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    path = tmp_path / "own.safetensors"
    save_file(network.state_dict(), path)
    (spec,) = networks.specs([f"{own}:good"], str(path))
    assert networks.fingerprint(networks.load(spec)) == networks.fingerprint(network)
    (without,) = networks.specs([f"{own}:good"])
    assert networks.fingerprint(networks.load(without)) != networks.fingerprint(network)


@pytest.mark.parametrize(
    ("factory", "complaint"),
    [
        ("nothing", r"returned NoneType; it must return a torch.nn.Module"),
        ("wide", r"returns \(2, 3, 26, 26\) for 2 images; it must return logits of shape \(2, classes\)"),
        ("narrow", r"returns \(2, 1\) for 2 images; it must return logits"),
        ("misfit", r"fails on a \(2, 1, 28, 28\) float32 input: RuntimeError"),
        ("broken", r"broken\(\) raises RuntimeError: out of cheese"),
        ("number", r"is a int; it must be a function"),
        ("absent", r"has no 'absent'"),
    ],
)
def test_a_factory_that_makes_no_classifier_is_refused(own: Path, factory: str, complaint: str) -> None:
    (spec,) = networks.specs([f"{own}:{factory}"])
    with pytest.raises(NetworkError, match=complaint):
        networks.check_output(networks.load(spec), data.find("mnist").domain, factory)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"pickle", "not a safetensors file"),
        (None, "cannot be read: No such file"),
        ("other", "do not fit the network"),
    ],
)
def test_bad_weights_are_refused(own: Path, tmp_path: Path, content: bytes | str | None, complaint: str) -> None:
    path = tmp_path / "own.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        save_file(nn.Linear(3, 3).state_dict(), path)
    (spec,) = networks.specs([f"{own}:good"], str(path))
    with pytest.raises(NetworkError, match=complaint):
        networks.load(spec)


@pytest.mark.parametrize(
    ("names", "weights", "complaint"),
    [
        (
            ["LeNet"],
            None,
            (
                "unknown network 'LeNet'; known: MLP, MLP_d, CNN, CNN_d, CNN_at_linf, CNN_at_l2, MLP_digits, MLP_cancer, "
                "path/to/file.py:factory, module:factory"
            ),
        ),
        (["MLP", "MLP"], None, "network MLP is named twice"),
        (["file.py:not a name"], None, "not a Python function's name"),
        (["some/file.txt:factory"], None, "unknown network"),
        (["MLP"], "w.safetensors", "needs exactly one path/to/file.py:factory"),
    ],
)
def test_names_that_mean_nothing_are_refused(names: list[str], weights: str | None, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        networks.specs(names, weights)


@pytest.mark.parametrize("text", ["raise SystemError('no')", "import nonsense_xyz", "def ("])
def test_a_file_that_cannot_be_imported_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.py"
    path.write_text(text)
    with pytest.raises(BenchError, match=r"bad.py cannot be imported"):
        networks.load(NetworkSpec("f", f"{path}:f"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"there is no file"):
        networks.load(NetworkSpec("f", f"{tmp_path}/none.py:f"))


def test_two_factories_of_one_name_are_told_apart_by_names(own: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text(OWN)
    with pytest.raises(UsageError, match=r"network good is named twice; give each a name of its own, such as first="):
        networks.specs([f"{own}:good", f"{other}:good"])
    found = networks.specs([f"before={own}:good", f"after={other}:good"])
    assert [spec.name for spec in found] == ["before", "after"]
    assert networks.specs(spec.text for spec in found) == found


class Unusual(nn.Module):
    """Parameters and buffers of dtypes that NumPy lacks, a scalar, and extra state that is no tensor."""

    def __init__(self, extra: str = "state") -> None:
        super().__init__()
        self.register_buffer("small", torch.ones(3, dtype=torch.bfloat16))
        self.register_buffer("scalar", torch.tensor(2.0))
        self.extra = extra

    def get_extra_state(self) -> str:
        return self.extra

    def set_extra_state(self, state: str) -> None:
        self.extra = state


def test_a_fingerprint_takes_any_state() -> None:
    assert networks.fingerprint(Unusual()) == networks.fingerprint(Unusual())
    assert networks.fingerprint(Unusual()) != networks.fingerprint(Unusual("other"))
    changed = Unusual()
    changed.get_buffer("small")[1] = 2
    assert networks.fingerprint(changed) != networks.fingerprint(Unusual())


def test_a_module_of_the_program_is_found_while_its_run_goes_on() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).train()
    spec = NetworkSpec("mine", "live:mine")
    with networks.live({"mine": module}):
        loaded = networks.load(spec)
    assert loaded is not module
    assert module.training
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    with pytest.raises(NetworkError, match="is a module of another program"):
        networks.load(spec)


def test_a_network_for_other_inputs_or_fewer_classes_is_named() -> None:
    domain = data.find("mnist").domain
    with pytest.raises(NetworkError, match=r"network small fails on a \(2, 1, 28, 28\)"):
        networks.check_output(nn.Linear(3, 2), domain, "small")
    with pytest.raises(NetworkError, match="network few has 3 classes; the dataset has 10"):
        networks.check_output(nn.Sequential(nn.Flatten(), nn.Linear(784, 3)), domain, "few")


def test_a_network_keeps_the_name_that_it_is_given(own: Path) -> None:
    assert networks.specs([f"MLP={own}:good"]) == (NetworkSpec("MLP", f"{own}:good"),)
    with pytest.raises(UsageError, match="a network of the zoo keeps its name; give MLP"):
        networks.specs(["mine=MLP"])
    with pytest.raises(UsageError, match=rf"such as first={own}:good$"):
        networks.specs([f"one={own}:good", f"one={own}:good"])


@given(text=st.one_of(st.text(max_size=30), st.from_regex(r"(\w*=)?[\w./\\~:-]{0,20}(\.py)?(:\w*)?", fullmatch=True)))
def test_any_text_is_a_network_or_a_line(text: str) -> None:
    try:
        found = networks.specs([text])
    except UsageError as error:
        assert "\n" not in str(error).replace(repr(text), "")  # noqa: PT017 - the other outcome is allowed as well
    else:
        # What it became finds the same from any folder.
        assert networks.specs(spec.text for spec in found) == found


def test_a_factory_finds_what_lies_beside_its_file_and_not_beside_another(tmp_path: Path) -> None:
    for name, classes in (("before", 3), ("after", 5)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "model_beside.py").write_text(
            f"from torch import nn\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(4, {classes}))\n"
        )
        (folder / "make.py").write_text(
            "from model_beside import net\ndef make():\n    return net()\n"
            "def late():\n    import model_beside\n    return model_beside.net()\n"
        )
    texts = [
        f"{name}-{how}={tmp_path / name}/make.py:{how}" for how in ("make", "late") for name in ("before", "after")
    ]
    specs = networks.specs(texts)
    loaded = [networks.load(spec) for spec in specs]
    assert [network(torch.zeros(1, 2, 2)).shape[1] for network in loaded] == [3, 5, 3, 5]
    known = [networks.source(spec).files for spec in specs]
    assert known[0] == known[2] != known[1]
    assert [len(files) for files in known] == [2] * 4


TIED = """
import torch
from torch import nn

class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, images):
        return self.second(self.first(images.flatten(1)))

def make():
    torch.manual_seed(3)
    return Tied()
"""


def test_weights_that_are_shared_are_read_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "tied.py").write_text(TIED)
    path = tmp_path / "tied.safetensors"
    (plain,) = networks.specs([f"{tmp_path}/tied.py:make"])
    trained = networks.load(plain)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(1)
    save_model(trained, str(path))
    (spec,) = networks.specs([f"{tmp_path}/tied.py:make"], str(path))
    assert networks.fingerprint(networks.load(spec)) == networks.fingerprint(trained)
    # A weight that is missing is missing.
    save_file({"first.bias": torch.zeros(4)}, path)
    with pytest.raises(NetworkError, match=r"do not fit the network: .*Missing key"):
        networks.load(spec)


class Rude(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise SystemExit(3)


class NoModes(nn.Linear):
    def train(self, mode: bool = True) -> NoModes:
        raise RuntimeError("no modes\nhere")


class Lonely(nn.Linear):
    """A module that can neither be copied nor sent to another process."""

    def __init__(self) -> None:
        super().__init__(4, 2)
        self.lock = threading.Lock()


def test_what_modules_do_to_their_callers_is_a_line() -> None:
    with pytest.raises(NetworkError, match=r"network rude fails on .*: SystemExit: 3"):
        networks.check_output(Rude(), data.find("mnist").domain, "rude")
    with networks.live({"mine": NoModes(4, 2), "lonely": Lonely()}):
        with pytest.raises(
            NetworkError, match=r"network mine cannot be put on device 'cpu' in eval mode: .*no modes here"
        ):
            networks.load(NetworkSpec("mine", "live:mine"))
        with pytest.raises(NetworkError, match=r"network lonely cannot be copied: TypeError: cannot pickle"):
            networks.load(NetworkSpec("lonely", "live:lonely"))
    assert "lock" in networks.sendable(Lonely())


def sent(name: str) -> Path:
    """The file by which other processes find a live module."""
    return Path(json.loads(os.environ[loading._LIVE_FILES])[name])


def test_a_module_that_cannot_be_read_back_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / hashlib.sha256(b"nonsense").hexdigest()
    path.write_bytes(b"nonsense")
    monkeypatch.setenv(loading._LIVE_FILES, json.dumps({"mine": str(path)}))
    with pytest.raises(NetworkError, match="network mine cannot be read back in this process"):
        networks.load(NetworkSpec("mine", "live:mine"))


def test_a_module_is_read_in_another_process_only_as_it_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = NetworkSpec("mine", "live:mine")
    with networks.live({"mine": nn.Linear(4, 2)}), monkeypatch.context() as elsewhere:
        elsewhere.setattr(loading, "_LIVE", {})
        assert networks.load(spec)(torch.zeros(1, 4)).shape == (1, 2)
        sent("mine").write_bytes(cloudpickle.dumps(nn.Linear(4, 3)))
        with pytest.raises(NetworkError, match=r"network mine: .* is not what was written there; start the run again"):
            networks.load(spec)


class Itself(nn.Linear):
    """A module whose deep copy is the module itself."""

    def __deepcopy__(self, memo: object) -> Itself:
        return self


class Shallow(nn.Sequential):
    """A module whose deep copy has the same layers."""

    def __deepcopy__(self, memo: object) -> nn.Module:
        return nn.Sequential(*self)


@pytest.mark.parametrize("module", [Itself(4, 2), Shallow(nn.Linear(4, 2))])
def test_a_module_whose_copy_shares_its_weights_is_refused_and_stays_as_it_is(module: nn.Module) -> None:
    module.train()
    with (
        networks.live({"mine": module}),
        pytest.raises(NetworkError, match="network mine cannot be copied: its copy shares modules or weights with it"),
    ):
        networks.load(NetworkSpec("mine", "live:mine"))
    assert all(part.training for part in module.modules())
    assert all(parameter.requires_grad for parameter in module.parameters())


class Stubborn(nn.Linear):
    """A module that can be sent to other processes, and not be copied."""

    def __deepcopy__(self, memo: object) -> Stubborn:
        raise RuntimeError("no copies")


def test_a_module_that_has_no_deep_copy_is_written_and_read() -> None:
    module = Stubborn(4, 2).train()
    with networks.live({"mine": module}):
        loaded = networks.load(NetworkSpec("mine", "live:mine"))
    assert networks.fingerprint(loaded) == networks.fingerprint(module)
    assert (loaded.training, module.training) == (False, True)
    assert module.weight.requires_grad


class Unreadable(nn.Linear):
    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


def test_what_cannot_be_read_back_is_not_sent() -> None:
    assert networks.sendable(nn.Linear(4, 2)) == ""
    assert networks.sendable(Unreadable(4, 2)).startswith("ValueError: invalid literal")


def test_modules_of_one_name_are_found_from_the_inside_out() -> None:
    spec = NetworkSpec("mine", "live:mine")
    before = os.environ.get(loading._LIVE_FILES)
    with networks.live({"mine": nn.Linear(4, 2), "other": nn.Linear(4, 5)}):
        with networks.live({"mine": nn.Linear(4, 3)}):
            assert networks.load(spec)(torch.zeros(1, 4)).shape == (1, 3)
            assert sent("other").is_file()
        assert networks.load(spec)(torch.zeros(1, 4)).shape == (1, 2)
        assert sent("mine").is_file()
    assert os.environ.get(loading._LIVE_FILES) == before


def test_a_temporary_folder_that_cannot_be_written_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with (
        pytest.raises(MachineError, match=r"no temporary file can be written: FileNotFoundError.*set TMPDIR"),
        networks.live({"mine": nn.Linear(4, 2)}),
    ):
        pass
    with pytest.raises(NetworkError, match="is a module of another program"):
        networks.load(NetworkSpec("mine", "live:mine"))


@pytest.mark.parametrize("text", ["my net=live:my net", "a=b=live:a=b", "=live:x", "live:", "live:two words"])
def test_a_name_that_records_cannot_carry_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"cannot name a network; use up to 64 letters, digits"):
        networks.specs([text])


class Inner(nn.Linear):
    """A network that takes gradients inside."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            moved = images.clone().requires_grad_()
            (slope,) = torch.autograd.grad(super().forward(moved).square().sum(), moved)
        return super().forward(images - slope)


def test_a_network_that_takes_gradients_inside_is_evaluated() -> None:
    loss, accuracy = networks.evaluate(Inner(4, 2), torch.zeros(3, 4), torch.zeros(3, dtype=torch.int64))
    assert loss > 0
    assert accuracy in (0, 1)


def test_the_package_offers_the_trained_classes() -> None:
    assert {name: getattr(networks, name) for name in TRAINED} == TRAINED
    with pytest.raises(AttributeError, match="has no attribute 'LeNet'"):
        _ = networks.LeNet


def test_a_live_module_is_the_same_network_in_another_process() -> None:
    torch.manual_seed(2)
    module = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 3)).train()
    hook = module[2].register_forward_hook(lambda *_: None)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    code = (
        "from bench import networks\nfrom bench.networks import NetworkSpec\n"
        "print(networks.fingerprint(networks.load(NetworkSpec('mine', 'live:mine'))))"
    )
    with networks.live({"mine": module}):
        here = networks.fingerprint(networks.load(NetworkSpec("mine", "live:mine")))
        done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == here
    assert module.training
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert len(module[2]._forward_hooks) == 1
    hook.remove()


class Odd(nn.Module):
    """A state that no ordinary way reads: sparse, complex, empty, turned, what cannot be serialised; no printed form."""

    def __init__(self, value: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("sparse", torch.eye(3).mul(value).to_sparse())
        self.register_buffer("complex", torch.ones(2, dtype=torch.complex64))
        self.register_buffer("empty", torch.zeros(0))
        self.register_buffer("turned", torch.arange(6).reshape(2, 3).T)

    def get_extra_state(self) -> object:
        return lambda: None

    def set_extra_state(self, state: object) -> None:
        pass

    def __repr__(self) -> str:
        raise RuntimeError("no words")


class Addressed(nn.Module):
    def extra_repr(self) -> str:
        return str(object())


def test_a_fingerprint_takes_the_oddest_state() -> None:
    assert networks.fingerprint(Odd()) == networks.fingerprint(Odd())
    assert networks.fingerprint(Odd()) != networks.fingerprint(Odd(2.0))
    assert networks.fingerprint(Addressed()) == networks.fingerprint(Addressed())
