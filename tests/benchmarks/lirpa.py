"""Certified radii of auto_LiRPA's CROWN and alpha-CROWN, and of the bench's own rows of kind ``lower``, on the same images.

auto_LiRPA 0.3 needs torch below 1.13, so that two environments take part. With that of the bench:

    OMP_NUM_THREADS=1 PYTHONPATH=.:tests/support python tests/benchmarks/lirpa.py pack lirpa.npz

writes weights, images and the best distances of the stored run, and bounds the images itself. With auto_LiRPA's:

    python3.10 -m venv lirpa && lirpa/bin/pip install torch==1.12.1 'numpy<2' appdirs pyyaml packaging ninja tqdm
    lirpa/bin/pip install --no-deps auto-LiRPA==0.3
    OMP_NUM_THREADS=1 lirpa/bin/python tests/benchmarks/lirpa.py bound lirpa.npz

bounds them by bisection between 0 and the best distance. In Linf auto_LiRPA is given the box; its L2 ball has none.
"""

# ruff: noqa: PLC0415 - each command runs in an environment of its own, with what that one has

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

import numpy as np

NETWORKS, NORMS, METHODS = ("MLP", "MLP_d", "CNN", "CNN_d"), ("linf", "l2"), ("CROWN", "CROWN-Optimized")
"""The second method, alpha-CROWN, fails on the CNNs in auto_LiRPA 0.3 with an assertion about the shapes of its alphas."""
IMAGES, HALVINGS, STEPS = 10, 8, 20


def said(name: str, norm: str, method: str, ratios: list[float], seconds: list[float]) -> None:
    print(
        f"{name} {norm} {method}: radius / best {statistics.median(ratios):.3f} ({min(ratios):.2f}-{max(ratios):.2f}), "
        f"{statistics.median(seconds):.1f} s of CPU an image",
        flush=True,
    )


def pack(path: str) -> None:
    from certified import bound, mnist, spec, zoo

    from bench import store
    from bench.norms import Norm
    from bench.specs import Kind

    records = store.read("results/reference/whole_test").records()
    images, labels = mnist(4 * IMAGES)
    content: dict[str, Any] = {}
    for name in NETWORKS:
        network = zoo(name)
        right = np.flatnonzero((network(images).argmax(1) == labels).numpy())[:IMAGES]
        content |= {f"{name}/w/{key}": value.numpy() for key, value in network.state_dict().items()}
        content |= {f"{name}/images": images[right].numpy(), f"{name}/labels": labels[right].numpy()}
        for norm in NORMS:
            found = records[(records.network == name) & (records.norm == norm)].groupby("image")[norm].min()
            best = content[f"{name}/{norm}"] = found[right].to_numpy()
            ratios: list[float] = []
            seconds: list[float] = []
            for place, number in enumerate((right[0], *right)):
                begin = time.process_time()
                bounds = bound(spec(Norm(norm), Kind.LOWER, 100.0), network, images[[number]], labels[[number]])
                if place:  # the first call compiles
                    seconds.append(time.process_time() - begin)
                    ratios.append(float(bounds.lower[0] / best[place - 1]))
            said(name, norm, "lower", ratios, seconds)
    np.savez(path, **content)


def bound_all(path: str) -> None:
    import torch
    from auto_LiRPA import BoundedModule, BoundedTensor  # type: ignore[import-not-found]
    from auto_LiRPA.perturbations import PerturbationLpNorm  # type: ignore[import-not-found]
    from torch import nn

    torch.set_num_threads(1)
    data = np.load(path)
    linear = (nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    first = nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.ReLU()
    second = nn.Conv2d(20, 40, 3), nn.MaxPool2d(2), nn.ReLU()
    pooled = (*first, *second, nn.Flatten(), nn.Linear(1000, 120), nn.ReLU(), nn.Linear(120, 10))

    def certified(network: Any, image: Any, label: int, ball: tuple[str, float], method: str) -> bool:
        norm, radius = ball
        # Sparse alphas of 0.3 fail where the set of unstable units changes, between balls or within one.
        dense = {"sparse_features_alpha": False, "sparse_spec_alpha": False}
        arguments = {"conv_mode": "patches", "optimize_bound_args": {"iteration": STEPS, "lr_alpha": 0.1}} | dense
        model = BoundedModule(network, image, bound_opts=arguments, device="cpu")
        if norm == "linf":
            low, high = (image - radius).clamp(0, 1), (image + radius).clamp(0, 1)
            around = PerturbationLpNorm(norm=np.inf, eps=radius, x_L=low, x_U=high)
        else:
            around = PerturbationLpNorm(norm=2, eps=radius)
        margins = torch.eye(10)[label] - torch.eye(10)[[other for other in range(10) if other != label]]
        lower, _ = model.compute_bounds(
            x=(BoundedTensor(image, around),), C=margins[None], method=method, bound_upper=False
        )
        return bool((lower > 0).all())

    for name in NETWORKS:
        network = nn.Sequential(*(linear if name.startswith("MLP") else pooled)).eval()
        weights = [data[key] for key in data.files if key.startswith(f"{name}/w/")]
        with torch.no_grad():
            for parameter, weight in zip(network.parameters(), weights):  # noqa: B905 - Python 3.9
                parameter.copy_(torch.from_numpy(weight))
        images, labels = torch.from_numpy(data[f"{name}/images"]), data[f"{name}/labels"].tolist()
        assert network(images).argmax(1).tolist() == labels
        for norm in NORMS:
            for method in METHODS if name.startswith("MLP") else METHODS[:1]:
                ratios: list[float] = []
                seconds: list[float] = []
                for image, label, best in zip(images, labels, data[f"{name}/{norm}"]):  # noqa: B905 - Python 3.9
                    begin, low, high = time.process_time(), 0.0, float(best)
                    for _ in range(HALVINGS):
                        middle = (low + high) / 2
                        closed = certified(network, image[None], label, (norm, middle), method)
                        low, high = (middle, high) if closed else (low, middle)
                    seconds.append(time.process_time() - begin)
                    ratios.append(low / best)
                said(name, norm, method, ratios, seconds)


if __name__ == "__main__":
    {"pack": pack, "bound": bound_all}[sys.argv[1]](sys.argv[2])
