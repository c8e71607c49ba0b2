"""ART: the lean classifier is the library's to the bit, and what is peculiar to its attacks is met once, here."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rows
import torch
from art.attacks.evasion import BoundaryAttack, CarliniL2Method, HopSkipJump, brendel_bethge
from art.attacks.evasion import DeepFool as ArtDeepFool
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn

from adapters import art_classifier, calls, margins
from adapters.art import attacker as art_attacker
from adapters.art import attacks
from adapters.art.attacker import ATTACKER, Doubtless
from adapters.art.classifier import Array, LeanClassifier
from adapters.art.repaired import RepairedCarliniL2
from adapters.layout import laid_out
from bench.engine.queries import CountedNetwork
from bench.problem import Problem, Unsupported
from bench.specs import AttackSpec, Origin, Start
from suites.grid import art

SHAPE = (1, 6, 6)
CLASSES = 4
BOX = (0.0, 1.0)
ROWS = art.ROWS
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


def problem(network: nn.Module, count: int = 2) -> Problem:
    return rows.unit(network, *some(network, count), seed=1)


def lean_classifier(network: nn.Module, shape: tuple[int, ...] = SHAPE) -> LeanClassifier:
    found = art_classifier(network, shape=shape, box=BOX)
    assert isinstance(found, LeanClassifier)
    return found


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
    network: nn.Module,
    shape: tuple[int, ...] = SHAPE,
    box: tuple[float, float] = BOX,
    *,
    loss: Any = None,
    cast: bool = True,
) -> PyTorchClassifier:
    """The library's classifier."""
    return PyTorchClassifier(
        AsFloat32(network) if cast else network,
        loss or nn.CrossEntropyLoss(),
        shape,
        CLASSES,
        clip_values=box,
        device_type="cpu",
    )


def stock_like(
    given: PyTorchClassifier, model: nn.Module, *, loss: Any = None, shape: tuple[int, ...] | None = None
) -> PyTorchClassifier:
    """What :meth:`LeanClassifier.like` gives, of the library."""
    return stock(model, shape or given.input_shape, loss=loss or given.loss)


@names
def test_every_row_is_the_stock_classifiers_to_the_bit(
    row: AttackSpec, network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = problem(laid_out(network), few(row))
    lean = ATTACKER.attack(short(row), given)
    monkeypatch.setattr(PyTorchClassifier, "like", stock_like, raising=False)
    monkeypatch.setattr(art_attacker, "classifier", stock)
    assert torch.equal(lean, ATTACKER.attack(short(row), given))
    assert not torch.equal(lean, given.images)


@names
def test_nothing_is_printed(row: AttackSpec, capfd: pytest.CaptureFixture[str]) -> None:
    ATTACKER.attack(short(row), problem(trained(mlp), few(row)))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("row", [row for row in ROWS if row.coupling.alone], ids=lambda row: row.name)
def test_an_image_that_is_a_call_of_its_own_gets_the_same_to_the_bit(row: AttackSpec) -> None:
    given = problem(trained(mlp))
    together = ATTACKER.attack(short(row), given)
    assert torch.equal(
        together, torch.cat([ATTACKER.attack(short(row), given.select(slice(i, i + 1))) for i in range(2)])
    )


@names
def test_nothing_found_is_nothing_adversarial(row: AttackSpec) -> None:
    network = trained(mlp)
    fix(network[-1], torch.zeros((CLASSES, 24)), torch.tensor([0.0, 3.0, 1.0, 2.0]))
    given = problem(network)
    assert given.labels.tolist() == [1, 1]
    candidates = ATTACKER.attack(short(row), given)
    assert candidates.shape == given.images.shape
    assert not margins.adversarial(network(candidates), given.labels).any()
    if row.start is not Start.IMAGE:
        assert torch.equal(candidates, given.images)


def test_targeted_is_never_left_to_the_default() -> None:
    for row in ROWS:
        kind = calls.target(row, None)
        if "targeted" in getattr(kind, "attack_params", ()) and row.origin is Origin.NATIVE:
            assert row.params["targeted"] is False, row.name


def test_it_is_a_real_classifier(network: nn.Module) -> None:
    lean = lean_classifier(network)
    assert isinstance(lean, PyTorchClassifier)
    assert lean.input_shape == SHAPE
    assert lean.nb_classes == CLASSES
    assert lean.clip_values.tolist() == [0.0, 1.0]
    assert lean.model is network
    for row in ROWS:
        kind = calls.target(row, None)
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
    lean, library = lean_classifier(network), stock(network)
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
    lean = lean_classifier(trained(mlp))
    with pytest.raises(ValueError, match="is not a class of 0 to 3, or one for each of 3 images"):
        lean.class_gradient(np.zeros((3, *SHAPE), dtype=np.float32), label=label)


def test_what_is_not_lean_is_the_librarys() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(36, CLASSES))
    lean = lean_classifier(network)
    x: Array = np.random.default_rng(0).random((5, *SHAPE))
    still = lean.predict(x)
    torch.manual_seed(0)
    assert not np.array_equal(lean.predict(x, training_mode=True), still)
    assert np.array_equal(lean.predict(x), still), "the mode is put back"
    network.train()
    assert np.array_equal(lean.predict(x), still)
    assert network.training
    lean.set_params(preprocessing=(0.5, 2.0))
    expected = lean_classifier(network).predict((x - 0.5) / 2)
    assert np.allclose(lean.predict(x), expected, atol=1e-6)
    assert np.allclose(
        lean.class_gradient(x, label=0) * 2, lean_classifier(network).class_gradient(x, label=0), atol=1e-6
    )


def test_it_is_a_live_view_that_changes_nothing() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(48, CLASSES)
    ).train()
    network[1].eval()
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    printed, state = repr(network), {name: value.clone() for name, value in network.state_dict().items()}
    x, y = np.random.default_rng(0).random((3, *SHAPE), dtype=np.float32), np.eye(CLASSES, dtype=np.float32)[:3]
    lean = lean_classifier(network)
    before = lean.predict(x)
    lean.class_gradient(x)
    lean.class_gradient(x, label=1)
    lean.loss_gradient(x, y)
    lean.loss_gradient(torch.from_numpy(x), torch.from_numpy(y))
    lean.compute_loss(x, y)
    lean.get_activations(x, layer=2)
    ArtDeepFool(lean, max_iter=2, verbose=False).generate(x)
    assert repr(network) == printed
    assert [layer.training for layer in network] == [True, False, True, True, True, True]
    assert network.training
    assert all(type(layer).__module__.startswith("torch.") for layer in network.modules())
    assert next(network.parameters()).is_contiguous()
    assert all(p.requires_grad and p.grad is not None and bool((p.grad == 1).all()) for p in network.parameters())
    assert all(torch.equal(network.state_dict()[name], value) for name, value in state.items())
    with torch.no_grad():
        list(network.parameters())[-1].add_(1.0)
    assert np.allclose(lean.predict(x), before + 1, atol=1e-5), "what changes the network is seen"


def test_it_can_be_trained_like_any_other() -> None:
    network = trained(mlp).requires_grad_()
    x, y = np.zeros((2, *SHAPE), dtype=np.float32), np.eye(CLASSES, dtype=np.float32)[:2]
    lean = lean_classifier(network)
    lean._optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    before = lean.predict(x)
    lean.fit(x.astype(np.float64), y, nb_epochs=1)
    assert not np.array_equal(lean.predict(x), before)


def test_it_can_be_pickled(network: nn.Module) -> None:
    lean = lean_classifier(network)
    again = pickle.loads(pickle.dumps(lean))
    x = some(network)[0].numpy()
    assert np.array_equal(again.predict(x), lean.predict(x))
    assert np.array_equal(again.class_gradient(x), lean.class_gradient(x))


class Bytes(nn.Module):
    """A network of images of bytes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images / 255)
        return logits


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
def test_images_of_integers_have_gradients_of_floats(network: nn.Module, dtype: type) -> None:
    x: Array = (np.random.default_rng(0).random((2, *SHAPE)) * 255).astype(dtype)
    y = np.eye(CLASSES, dtype=np.float32)[:2]
    lean = art_classifier(Bytes(network), shape=SHAPE, box=(0, 255))
    floats = x.astype(np.float32)
    assert np.array_equal(lean.predict(x), lean.predict(floats))
    for ours, expected in (
        (lean.loss_gradient(x, y), lean.loss_gradient(floats, y)),
        (lean.class_gradient(x), lean.class_gradient(floats)),
        (lean.class_gradient(x, label=1), lean.class_gradient(floats, label=1)),
    ):
        assert ours.dtype == np.float32
        assert np.array_equal(ours, expected)
        assert (ours != 0).any()


def test_each_value_may_have_a_box_of_its_own() -> None:
    low, high = np.full(12, -1.0, dtype=np.float32), np.linspace(1, 5, 12, dtype=np.float32)
    network = nn.Linear(12, 3).eval()
    lean = art_classifier(network, shape=(12,), box=(low, high))
    x = np.random.default_rng(0).uniform(low, high, (4, 12)).astype(np.float32)
    candidates = ArtDeepFool(lean, verbose=False).generate(x)
    assert (candidates >= low).all()
    assert (candidates <= high).all()


def test_deepfool_considers_a_part_of_many_classes_for_each_image_alone() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 40)).eval()
    x = torch.rand((3, *SHAPE)).numpy()
    counted = CountedNetwork(network)
    ours = attacks.DeepFool(lean_classifier(counted), max_iter=3, batch_size=3, verbose=False)
    together = ours.generate(x)
    assert counted.backwards <= 3 * 10 * 4
    assert np.array_equal(together, np.concatenate([ours.generate(image[None]) for image in x]))


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
    attack = BoundaryAttack(lean_classifier(network), targeted=False, init_size=2, verbose=False)
    assert np.array_equal(attack.generate(x), x)


def test_a_search_without_end_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HopSkipJump, "_adversarial_satisfactory", lambda *_, **__: np.array([False]))
    attack = attacks.HopSkipJump(lean_classifier(trained(mlp)), verbose=False)
    for _ in range(attacks.MOST_HALVINGS):
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
    decided = Doubtless(Fixed(), clean, 0)(logits).argmax(1) != 0
    assert decided.tolist() == [False, True, False, False, False]
    assert torch.equal(decided, margins.adversarial(logits, labels, margins.size(clean)))


def test_repaired_cw_reaches_the_boundary_where_the_stock_one_does_not() -> None:
    torch.manual_seed(0)
    weights = torch.randn(36)
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    fix(network[1], torch.stack([weights, -weights]), torch.zeros(2))
    # Black and white pixels, each at the end of the box from which the boundary lies in the other direction.
    images = (weights > 0).float().reshape(1, *SHAPE)
    optimum = float((weights @ images.flatten()) / weights.norm())
    lean = lean_classifier(network.eval())
    labels = np.array([0])
    repaired = RepairedCarliniL2(lean, binary_search_steps=4, max_iter=100).generate(images.numpy(), y=labels)
    library = CarliniL2Method(lean, initial_const=10.0, max_iter=30, verbose=False).generate(images.numpy(), y=labels)
    found = [float(np.linalg.norm(candidate - images.numpy())) for candidate in (repaired, library)]
    assert lean.predict(repaired).argmax() == 1
    assert found[0] == pytest.approx(optimum, rel=0.1)
    assert found[1] == 0 or found[1] > 1.25 * optimum


def test_carlini_in_l0_refuses_images_that_it_would_search_for_hours() -> None:
    class Two(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            assert len(images) <= 2, "an attack was begun"
            first = images.flatten(1)[:, 0]
            return torch.stack([1 - first, first], 1)

    shape = (3, 96, 96)
    problem = rows.unit(Two().eval(), torch.zeros(1, *shape), torch.tensor([0]))
    with pytest.raises(Unsupported, match="27,648 searches for an image"):
        ATTACKER.attack(art.CW_L0, problem)
