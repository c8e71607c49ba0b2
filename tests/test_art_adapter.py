"""ART: the lean classifier is the library's to the bit, and what is peculiar to its attacks is met once, here."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from art.attacks.evasion import BoundaryAttack, CarliniL2Method, HopSkipJump, brendel_bethge
from art.attacks.evasion import DeepFool as ArtDeepFool
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn

from adapters import base
from adapters import margins as decisions
from adapters.art import attacker as art_adapter
from adapters.art.attacker import ATTACKER, classifier
from adapters.art.attacks import RepairedCarliniL2
from adapters.art.classifier import Array
from adapters.layout import GreyConv2d, lay_out
from bench import data, networks
from bench.engine.queries import CountedNetwork
from bench.specs import AttackSpec, Origin
from suites.grid import art as _art
from suites.grid import foolbox as _foolbox

SHAPE = (1, 6, 6)
CLASSES = 4
ROWS = _art.ROWS
names = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)

FEWER = {
    "max_iter": 6,
    "steps": 6,
    "init_eval": 20,
    "max_eval": 40,
    "binary_search_steps": 2,
    "passes": 4,
    "lr_num_decay": 3,
}
FASTER = {"learning_rate": 0.3, "decrease_factor": 0.3}


def short(row: AttackSpec) -> AttackSpec:
    """The row with so few steps that its attack still moves, and ends at once."""
    counts = {key: min(count, int(str(row.params[key]))) for key, count in FEWER.items() if key in row.params}
    rates = {key: rate for key, rate in FASTER.items() if key in row.params}
    return dataclasses.replace(row, params={**row.params, **counts, **rates})


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 24), nn.ReLU(), nn.Linear(24, CLASSES))


def cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6, CLASSES)
    )


def trained(make: Callable[[], nn.Sequential]) -> nn.Sequential:
    """A small network with boundaries near its images: random, and sharpened."""
    torch.manual_seed(5)
    network = make()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2.0)
    network.eval().requires_grad_(False)
    return network


def fix(layer: nn.Module, weight: Tensor, bias: Tensor) -> None:
    layer.load_state_dict({"weight": weight, "bias": bias})


def some(network: nn.Module, count: int = 2) -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    images = torch.rand((count, *SHAPE))
    return images, network(images).argmax(1)


def few(row: AttackSpec) -> int:
    """How many images: one where a search for every pixel takes seconds."""
    return 1 if row.target.endswith(":CarliniL0Method") else 2


@pytest.fixture(params=[mlp, cnn], ids=["mlp", "cnn"])
def network(request: pytest.FixtureRequest) -> nn.Module:
    return trained(request.param)


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brendel-Bethge's solvers as plain Python: on these small images that takes less time than compiling them."""
    for name in ("BFGSB", "L0Optimizer", "L2Optimizer", "LinfOptimizer"):
        compiled = getattr(brendel_bethge, name).class_type
        members = {key: method.py_func for key, method in compiled.jit_methods.items()}
        monkeypatch.setattr(brendel_bethge, name, type(name, (), members))


class AsFloat32(nn.Module):
    """The one thing a stock classifier needs to survive NumPy 2."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.to(torch.float32))
        return logits


def stock(
    network: nn.Module, shape: tuple[int, ...] = SHAPE, box: tuple[float, float] = data.BOX, *, cast: bool = True
) -> PyTorchClassifier:
    """The library's classifier, on the lean one's layout."""
    lay_out(network)
    return PyTorchClassifier(
        AsFloat32(network) if cast else network,
        nn.CrossEntropyLoss(),
        shape,
        CLASSES,
        clip_values=box,
        device_type="cpu",
    )


@names
def test_every_row_is_the_stock_classifiers_to_the_bit(
    row: AttackSpec, network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = some(network, few(row))
    lean = ATTACKER.attack(short(row), network, images, labels, seed=1)
    monkeypatch.setattr(art_adapter, "classifier", stock)
    assert torch.equal(lean, ATTACKER.attack(short(row), network, images, labels, seed=1))
    assert not torch.equal(lean, images)


@names
def test_a_seed_says_everything(row: AttackSpec, capfd: pytest.CaptureFixture[str]) -> None:
    network = trained(mlp)
    images, labels = some(network, few(row))
    untouched = images.clone()
    np.random.seed(11)  # noqa: NPY002 - the state that must be left alone
    random.seed(11)
    torch.manual_seed(11)
    first = ATTACKER.attack(short(row), network, images, labels, seed=1)
    drawn = np.random.rand(), random.random(), torch.rand(1).item()  # noqa: NPY002 - as above
    np.random.seed(11)  # noqa: NPY002 - as above
    random.seed(11)
    torch.manual_seed(11)
    assert drawn == (np.random.rand(), random.random(), torch.rand(1).item())  # noqa: NPY002 - as above
    assert torch.equal(first, ATTACKER.attack(short(row), network, images, labels, seed=1))
    assert torch.equal(images, untouched)
    assert capfd.readouterr() == ("", "")


@names
def test_neighbours_change_nothing(row: AttackSpec) -> None:
    network = trained(mlp)
    images, labels = some(network)
    together = ATTACKER.attack(short(row), network, images, labels, seed=1)
    alone = [
        ATTACKER.attack(short(row), network, images[i : i + 1], labels[i : i + 1], seed=1) for i in range(len(images))
    ]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5, rtol=0)
    if row.name in SINGLY:
        assert torch.equal(together, torch.cat(alone))


SINGLY = {row.name for row in ROWS if row.target.split(":")[1] in art_adapter.SINGLY}


@names
def test_nothing_found_is_nothing_adversarial(row: AttackSpec) -> None:
    network = trained(mlp)
    fix(network[-1], torch.zeros((CLASSES, 24)), torch.tensor([0.0, 3.0, 1.0, 2.0]))
    images, labels = some(network)
    assert labels.tolist() == [1, 1]
    candidates = ATTACKER.attack(short(row), network, images, labels, seed=1)
    assert candidates.shape == images.shape
    assert not decisions.adversarial(network(candidates), labels).any()
    if row.target.split(":")[1] in ("BoundaryAttack", "HopSkipJump", "BrendelBethgeAttack"):
        assert torch.equal(candidates, images)


@names
def test_queries_pass_the_counter(row: AttackSpec) -> None:
    network = trained(mlp)
    images, labels = some(network, few(row))
    counted = CountedNetwork(network)
    ATTACKER.attack(short(row), counted, images, labels, seed=1)
    assert counted.forwards >= len(images)
    assert (counted.backwards > 0) == (row.method.access == "gradient")


def test_targeted_is_never_left_to_the_default() -> None:
    for row in ROWS:
        kind = art_adapter.resolve(row)
        if "targeted" in getattr(kind, "attack_params", ()) and row.origin is Origin.NATIVE:
            assert row.params["targeted"] is False, row.name


@pytest.mark.filterwarnings("ignore:Please import .* from the .scipy.ndimage:DeprecationWarning")  # Foolbox's import
@pytest.mark.parametrize(
    "rows", [(_art.DEEPFOOL_L2, _foolbox.DEEPFOOL_L2), (_art.DEEPFOOL_LINF, _foolbox.DEEPFOOL_LINF)], ids=["l2", "linf"]
)
def test_both_libraries_agree_on_deepfool(rows: tuple[AttackSpec, AttackSpec]) -> None:
    network = networks.load("MLP")
    images, labels = data.test(21)
    right = network(images).argmax(1) == labels
    images, labels = images[right], labels[right]
    medians = []
    for row in rows:
        candidates = base.load(row.library).attack(row, network, images, labels, seed=0)
        assert decisions.adversarial(network(candidates), labels).all()
        medians.append(np.median(row.norm.of(candidates - images)))
    assert medians[0] == pytest.approx(medians[1], rel=0.1)


def test_it_is_a_real_classifier(network: nn.Module) -> None:
    lean = classifier(network, SHAPE)
    assert isinstance(lean, PyTorchClassifier)
    assert lean.input_shape == SHAPE
    assert lean.nb_classes == CLASSES
    assert lean.clip_values.tolist() == [0.0, 1.0]
    assert lean.model is network
    for row in ROWS:
        kind = art_adapter.resolve(row)
        if hasattr(kind, "is_estimator_valid"):
            assert kind.is_estimator_valid(lean, kind._estimator_requirements)
    images, _ = some(network)
    adversarial = ArtDeepFool(lean, verbose=False).generate(images.numpy())
    assert adversarial.shape == images.shape


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_predictions_and_gradients_are_the_stock_ones(network: nn.Module, dtype: type) -> None:
    images, labels = some(network, 7)
    x: Array = images.numpy().astype(dtype)
    y = np.eye(CLASSES, dtype=np.float32)[labels.numpy()]
    lean, library = classifier(network, SHAPE), stock(network)
    for ours, theirs in (
        (lean.predict(x), library.predict(x)),
        (lean.predict(x, batch_size=3), library.predict(x, batch_size=3)),
        (lean.class_gradient(x), library.class_gradient(x)),
        (lean.class_gradient(x, label=2), library.class_gradient(x, label=2)),
        (lean.class_gradient(x, label=[0, 1, 1, 3, 2, 0, 3]), library.class_gradient(x, label=[0, 1, 1, 3, 2, 0, 3])),
        (lean.loss_gradient(x, y), library.loss_gradient(x, y)),
        (lean.loss_gradient(x, 0.9 * y + 0.025), library.loss_gradient(x, 0.9 * y + 0.025)),
    ):
        assert isinstance(ours, np.ndarray)
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        assert np.array_equal(ours, theirs)
        assert ours.squeeze().strides == theirs.squeeze().strides


@pytest.mark.parametrize("label", [CLASSES, -1, [0, 1], "0", 1.5])
def test_a_class_that_is_none_is_refused(label: Any) -> None:
    lean = classifier(trained(mlp), SHAPE)
    with pytest.raises(ValueError, match="is not a class of 0 to 3, or one for each of 3 images"):
        lean.class_gradient(np.zeros((3, *SHAPE), dtype=np.float32), label=label)


def test_what_is_not_lean_is_the_librarys() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(36, CLASSES))
    lean = classifier(network, SHAPE)
    x: Array = np.random.default_rng(0).random((5, *SHAPE))
    still = lean.predict(x)
    torch.manual_seed(0)
    assert not np.array_equal(lean.predict(x, training_mode=True), still)
    assert np.array_equal(lean.predict(x), still), "the mode is put back"
    network.train()
    assert np.array_equal(lean.predict(x), still), "whoever changed it"
    lean.set_params(preprocessing=(0.5, 2.0))
    expected = classifier(network, SHAPE).predict((x - 0.5) / 2)
    assert np.allclose(lean.predict(x), expected, atol=1e-6)
    assert np.allclose(
        lean.class_gradient(x, label=0) * 2, classifier(network, SHAPE).class_gradient(x, label=0), atol=1e-6
    )


def test_parameters_are_left_alone() -> None:
    network = trained(mlp).requires_grad_()
    x, y = np.zeros((2, *SHAPE), dtype=np.float32), np.eye(CLASSES, dtype=np.float32)[:2]
    lean = classifier(network, SHAPE)
    lean.loss_gradient(x, y)
    lean.class_gradient(x)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    lean._optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    before = lean.predict(x)
    lean.fit(x.astype(np.float64), y, nb_epochs=1)
    assert not np.array_equal(lean.predict(x), before), "it can be trained like any other"


def test_the_layout_is_a_rule() -> None:
    lean = classifier(trained(cnn), SHAPE)
    assert isinstance(lean.model[0], GreyConv2d)
    assert lean.model[2].weight.is_contiguous(memory_format=torch.channels_last)
    assert not lean.model[2].weight.is_contiguous()


def test_the_stock_classifier_fails_in_float64() -> None:
    network = trained(mlp)
    images, labels = some(network)
    attack = HopSkipJump(stock(network, cast=False), max_iter=1, init_eval=5, verbose=False)
    with pytest.raises(RuntimeError, match="dtype"):
        attack.generate(images.numpy(), y=labels.numpy(), x_adv_init=images.flip(0).numpy())


def test_the_stock_boundary_attack_passes_the_image_off_as_its_result() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, CLASSES))
    fix(network[1], torch.zeros((CLASSES, 36)), torch.arange(float(CLASSES)))
    x = np.full((1, *SHAPE), 0.5, dtype=np.float32)
    attack = BoundaryAttack(classifier(network, SHAPE), targeted=False, init_size=2, verbose=False)
    assert np.array_equal(attack.generate(x), x)


def test_a_search_without_end_ends() -> None:
    class Stubborn:
        def _adversarial_satisfactory(self, **_: Any) -> Any:
            return np.array([False])

    attack: Any = art_adapter._ending(Stubborn())
    for _ in range(art_adapter.MOST_HALVINGS):
        attack._adversarial_satisfactory(samples=None)
    with pytest.raises(RuntimeError, match="would search for ever"):
        attack._adversarial_satisfactory(samples=None)


def test_doubt_is_no_misclassification() -> None:
    class Fixed(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images

    logits = torch.tensor([[1.0, 1.0 + 1e-6], [1.0, 1.1], [1.1, 1.0], [1.0, float("nan")], [-1e-6, 1e-6]])
    labels = torch.zeros(5, dtype=torch.int64)
    clean = torch.tensor([[3.0, -3.0]])
    decided = art_adapter._Doubtless(Fixed(), clean, 0)(logits).argmax(1) != 0
    assert decided.tolist() == [False, True, False, False, False]
    assert torch.equal(decided, decisions.adversarial(logits, labels, decisions.size(clean)))


def test_repaired_cw_reaches_the_boundary_where_the_stock_one_does_not() -> None:
    torch.manual_seed(0)
    weights = torch.randn(36)
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    fix(network[1], torch.stack([weights, -weights]), torch.zeros(2))
    # Black and white pixels, each at the end of the box from which the boundary lies in the other direction.
    images = (weights > 0).float().reshape(1, *SHAPE)
    optimum = float((weights @ images.flatten()) / weights.norm())
    lean = classifier(network.eval(), SHAPE)
    labels = np.array([0])
    repaired = RepairedCarliniL2(lean, binary_search_steps=4, max_iter=100).generate(images.numpy(), y=labels)
    library = CarliniL2Method(lean, initial_const=10.0, max_iter=30, verbose=False).generate(images.numpy(), y=labels)
    found = [float(np.linalg.norm(candidate - images.numpy())) for candidate in (repaired, library)]
    assert lean.predict(repaired).argmax() == 1
    assert found[0] == pytest.approx(optimum, rel=0.1)
    assert found[1] == 0 or found[1] > 1.25 * optimum
