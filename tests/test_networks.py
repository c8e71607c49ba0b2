"""The four networks as shipped, and the ways to bring one's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bench import data, networks
from bench.errors import BenchError, NetworkError, UsageError
from bench.networks import NetworkSpec, loading
from bench.networks.mnist import TRAINED

AT_LEAST = {"MLP": 0.9723, "MLP_d": 0.9724, "CNN": 0.9895, "CNN_d": 0.9910}
PARAMETERS = {"MLP": 118_282, "MLP_d": 118_282, "CNN": 129_090, "CNN_d": 129_090}


@pytest.mark.parametrize("name", TRAINED)
def test_a_shipped_network_is_as_good_as_its_record_says(name: str) -> None:
    network = networks.load(name)
    _, accuracy = networks.evaluate(network, *data.tensors())
    assert accuracy >= AT_LEAST[name]
    # Another machine's rounding may move an image that lies on a boundary.
    assert accuracy == pytest.approx(networks.pinned(name)["test_accuracy"], abs=3e-4)


@pytest.mark.parametrize("name", TRAINED)
def test_a_shipped_network_is_ready_to_be_attacked(name: str) -> None:
    network = networks.load(name)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    images, _ = data.tensors(n=3)
    assert network(images).shape == (3, 10)
    assert torch.equal(network(images), network(images))


@pytest.mark.parametrize("name", TRAINED)
def test_the_hyperparameters_are_those_of_the_class(name: str) -> None:
    cls = TRAINED[name]
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
            "unknown network 'LeNet'; known: MLP, MLP_d, CNN, CNN_d, path/to/file.py:factory, module:factory",
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
