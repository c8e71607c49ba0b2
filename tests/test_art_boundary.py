"""ART's GeoDA and Sign-OPT: what is written again is the library's, and what is peculiar to it is met once, here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rows
import torch
from art.attacks import evasion
from torch import Tensor, nn

from adapters import art_classifier
from adapters.art.attacker import ATTACKER
from adapters.art.boundary import FEWEST, Array, GeoDA, SignOPTAttack, low_frequencies
from adapters.art.repaired import RepairedGeoDA
from bench.engine.queries import CountedNetwork
from bench.norms import Norm
from bench.specs import AttackSpec
from bench.testing.closed_form import CASES
from suites.grid import art

SHAPE = (2, 7, 7)
"""Of pictures, two channels each."""


class Curved(nn.Module):
    """A small network without corners, on images of any shape of 98 values."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.first = nn.Parameter(torch.randn(98, 16, generator=generator), requires_grad=False)
        self.second = nn.Parameter(torch.randn(16, classes, generator=generator), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        return torch.tanh((images.flatten(1) - 0.5) @ self.first) @ self.second


def estimator(network: nn.Module, shape: tuple[int, ...] = SHAPE) -> Any:
    return art_classifier(network.eval(), shape=shape, box=(0.0, 1.0))


def pair(network: nn.Module, shape: tuple[int, ...] = SHAPE) -> tuple[Array, Array, Array]:
    """An image (1, *shape), its class (1,) and an image of another class (1, *shape)."""
    images = torch.rand((50, *shape), generator=torch.Generator().manual_seed(2))
    classes = network(images).argmax(1)
    other = images[classes != classes[0]][:1]
    return images[:1].numpy(), classes[:1].numpy(), other.numpy()


@pytest.fixture
def with_mat(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the library's GeoDA needs: a name that NumPy had, and a folder to leave its basis in."""
    monkeypatch.setattr(np, "mat", np.asarray, raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_librarys_geoda_needs_a_name_that_numpy_has_no_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not hasattr(np, "mat")
    network = Curved()
    image, label, _ = pair(network)
    with pytest.raises(AttributeError, match=r"np\.mat"):
        evasion.GeoDA(estimator(network), verbose=False).generate(image, y=label)


def test_geoda_leaves_numpy_and_the_working_directory_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    network = Curved()
    image, label, start = pair(network)
    GeoDA(estimator(network), sub_dim=4, max_iter=600, verbose=False).generate(image, y=label, x_adv_init=start)
    assert not hasattr(np, "mat")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("with_mat")
def test_the_basis_is_the_librarys() -> None:
    ours = low_frequencies((7, 7), 4)
    assert ours is not None
    assert np.allclose(ours, evasion.GeoDA._generate_2d_dct_basis(4, 7), atol=1e-6)
    assert low_frequencies((7, 7), 7) is None
    oblong = low_frequencies((3, 9), 5)
    assert oblong is not None
    assert oblong.shape == (27, 15)
    assert np.allclose(oblong.T @ oblong, np.eye(15), atol=1e-6)


@pytest.mark.usefixtures("with_mat")
@pytest.mark.parametrize("norm", [2, "inf"])
def test_geoda_is_the_librarys_from_the_same_start(norm: int | str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Curved()
    image, label, start = pair(network)
    monkeypatch.setattr(evasion.GeoDA, "_find_random_adversarial", lambda *_, **__: start)
    found = []
    for kind in (evasion.GeoDA, GeoDA):
        np.random.seed(0)  # noqa: NPY002 - what the library draws from
        attack = kind(estimator(network), norm=norm, sub_dim=4, bin_search_tol=1e-3, sigma=0.01, verbose=False)
        given = {"x_adv_init": start} if kind is GeoDA else {}
        found.append(attack.generate(image, y=label, **given))
    assert np.allclose(found[0], found[1], atol=1e-3)
    assert 0 < np.abs(found[0] - image).max() < np.abs(start - image).max()


def test_geodas_norm_1_is_its_norm_2() -> None:
    network = Curved()
    image, label, start = pair(network)
    found = []
    for norm in (1, 2):
        np.random.seed(0)  # noqa: NPY002 - as above
        attack = GeoDA(estimator(network), norm=norm, sub_dim=4, max_iter=600, verbose=False)
        found.append(attack.generate(image, y=label, x_adv_init=start))
    assert np.array_equal(found[0], found[1])
    (hole,) = [hole for hole in art.L1_HOLES if "GeoDA" in hole.reason]
    assert hole.norm is Norm.L1


@pytest.mark.parametrize("queries", [1, 6, 100, 219, 354, FEWEST - 1, FEWEST, 4000, 40000])
def test_every_number_of_queries_has_a_plan(queries: int) -> None:
    attack = GeoDA(estimator(Curved()), max_iter=queries, verbose=False)
    plan = attack.q_opt_iter[: attack.iterate]
    assert len(plan) == attack.iterate > 0
    assert 0 < sum(plan) <= max(queries, 1) + len(plan)


@pytest.mark.parametrize("queries", [6, 100])
def test_the_librarys_plan_has_none_for_few_queries(queries: int) -> None:
    with pytest.raises((IndexError, RecursionError)):
        evasion.GeoDA(estimator(Curved()), max_iter=queries, verbose=False)


def test_geoda_keeps_no_estimate_in_memory_and_asks_in_batches() -> None:
    class Sizes(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network, self.seen = network, list[int]()

        def forward(self, images: Tensor) -> Tensor:
            self.seen.append(len(images))
            logits: Tensor = self.network(images)
            return logits

    network = Sizes(Curved())
    attack = GeoDA(estimator(network), sub_dim=4, batch_size=30, verbose=False)
    image, label, start = pair(network)
    network.seen.clear()
    attack.generate(image, y=label, x_adv_init=start)
    assert set(network.seen) == {1, 30} | {size % 30 for size in attack.q_opt_iter if size % 30}


def test_a_tolerance_finer_than_float32_ends() -> None:
    network = Curved()
    image, label, start = pair(network)
    attack = GeoDA(estimator(network), sub_dim=4, max_iter=20, bin_search_tol=1e-12, verbose=False)
    assert np.isfinite(attack.generate(image, y=label, x_adv_init=start)).all()


@pytest.mark.parametrize("shape", [SHAPE, (98,), (1, 2, 49), (14, 7)], ids=str)
@pytest.mark.parametrize("kind", [RepairedGeoDA, SignOPTAttack])
def test_inputs_have_any_shape(kind: type, shape: tuple[int, ...]) -> None:
    network = Curved()
    image, label, start = pair(network, shape)
    options = {"max_iter": 600} if kind is RepairedGeoDA else {"max_iter": 3, "targeted": False}
    attack = kind(estimator(network, shape), **options, verbose=False)
    found = attack.generate(image, y=label, x_adv_init=start)
    assert found.shape == image.shape
    assert found.dtype == np.float32
    assert network(torch.from_numpy(found)).argmax(1).numpy() != label
    assert np.linalg.norm(found - image) < np.linalg.norm(start - image)
    attack.generate(image, x_adv_init=start)  # leaves the predicted class
    with pytest.raises(ValueError, match="x_adv_init"):
        attack.generate(image, y=label)


@pytest.mark.parametrize(
    ("native", "mended"), list(zip(art.GEODA, art.REPAIRED_GEODA, strict=True)), ids=["l2", "linf"]
)
def test_mended_geoda_takes_no_step_out_of_the_box_that_turns_it(native: AttackSpec, mended: AttackSpec) -> None:
    case = CASES[0]
    ours, library = (
        native.norm.of((rows.attack(row, case.problem()) - case.images).flatten(1).double().numpy())
        / case.optimum(native.norm)
        for row in (mended, native)
    )
    assert (ours < 1.1).all()
    assert ours.max() < library.max()


@pytest.mark.parametrize("row", art.REPAIRED_GEODA, ids=lambda row: row.name)
def test_mended_geoda_is_never_farther_than_its_start(row: AttackSpec) -> None:
    class Corner(nn.Module):
        """Class 1 for images that are all but white."""

        def forward(self, images: Tensor) -> Tensor:
            total = images.flatten(1).sum(1)
            return torch.stack([97.5 - total, total - 97.5], 1)

    images, labels = torch.full((1, *SHAPE), 0.5), torch.tensor([0])
    starts = torch.ones((1, 1, *SHAPE))
    candidates = rows.attack(row, rows.unit(Corner(), images, labels, starts=starts))
    assert (Corner()(candidates).argmax(1) == 1).all()
    for norm in (2, torch.inf):
        assert (candidates - images).flatten().norm(norm) <= (starts[0] - images).flatten().norm(norm)


def test_sign_opt_takes_networks_of_two_classes_which_the_librarys_refuses() -> None:
    network = Curved(classes=2)
    image, label, start = pair(network)
    with pytest.raises(ValueError, match="binary classification"):
        evasion.SignOPTAttack(estimator(network), targeted=False).generate(image, y=label)
    found = SignOPTAttack(estimator(network), targeted=False, max_iter=2).generate(image, y=label, x_adv_init=start)
    assert network(torch.from_numpy(found)).argmax(1).numpy() != label


class Far(nn.Module):
    """Class 1 for images whose first value is near 1, and all others black: no random direction leads there."""

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        lead = flat[:, 0] - flat[:, 1:].sum(1) - 0.9
        return torch.stack([-lead, lead, torch.full_like(lead, -5.0)], 1)


def test_sign_opt_begins_where_the_library_finds_no_direction() -> None:
    image, label = np.zeros((1, *SHAPE), dtype=np.float32), np.array([0])
    start = image.copy()
    start[0, 0, 0, 0] = 1.0
    np.random.seed(0)  # noqa: NPY002 - as above
    library = evasion.SignOPTAttack(estimator(Far()), targeted=False, num_trial=20).generate(image, y=label)
    assert np.array_equal(library, image)
    ours = SignOPTAttack(estimator(Far()), targeted=False, num_trial=20, max_iter=1)
    found = ours.generate(image, y=label, x_adv_init=start)
    assert Far()(torch.from_numpy(found)).argmax() == 1
    assert 0.9 <= np.linalg.norm(found - image) < 0.91


def test_sign_opts_gradient_is_the_librarys_asked_for_in_fewer_passes() -> None:
    network = CountedNetwork(Curved())
    image, label, start = pair(network)
    direction = (start - image)[0] / np.linalg.norm(start - image)
    found = []
    for kind in (evasion.SignOPTAttack, SignOPTAttack):
        np.random.seed(0)  # noqa: NPY002 - as above
        attack = kind(estimator(network), targeted=False, epsilon=0.1, k=120)
        found.append(attack._sign_grad(image[0], int(label[0]), 0.1, direction, 1.0, None))
    assert np.allclose(found[0][0], found[1][0], atol=1e-6)
    assert found[0][1] == found[1][1] == 120


def test_both_begin_at_the_start_that_the_bench_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    for kind, name in ((GeoDA, "_from"), (SignOPTAttack, "_attack")):
        method = getattr(kind, name)

        def watched(self: Any, *args: Any, method: Any = method) -> Any:
            begun.append(args[2] if len(args) == 3 else args[0] + self._towards)
            return method(self, *args)

        monkeypatch.setattr(kind, name, watched)
    network = Curved()
    image, label, start = map(torch.from_numpy, pair(network))
    problem = rows.unit(network, image, label, starts=start.unsqueeze(1))
    for row in (*art.GEODA, art.SIGN_OPT):
        ATTACKER.attack(rows.shortened(row), problem)
    assert len(begun) == 3
    assert all(np.allclose(each.reshape(start.shape), start, atol=1e-6) for each in begun)
