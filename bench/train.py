"""``python -m bench.train CNN --save``: train one of the networks, and keep its weights and history."""

from __future__ import annotations

import argparse
import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import save as to_safetensors

from bench import data
from bench.arguments import Parser, command
from bench.engine import devices
from bench.engine.request import SEEDS
from bench.errors import UsageError
from bench.networks.loading import evaluate
from bench.networks.mnist import Network
from bench.networks.trained import TRAINED
from bench.process import leave


@dataclass(frozen=True, slots=True)
class Epoch:
    """Mean cross-entropy (nats) and accuracy (0 to 1) after one epoch, in eval mode."""

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float


def train(
    cls: type[Network],
    *,
    seed: int = 0,
    epochs: int | None = None,
    samples: int | None = None,
    device: str = "cpu",
    console: Console | None = None,
) -> tuple[Network, list[Epoch]]:
    """Fit one network to the ``train`` split with the hyperparameters its class carries.

    One torch thread and a seeded generator: the same numbers twice on one machine.

    Args:
        cls: one of ``bench.networks.trained.TRAINED``.
        seed: of the initial weights, the order of the images and the dropout.
        epochs: instead of the class's own number.
        samples: train on the first so many images only; None for all.
        device: where to train.
        console: where to show the progress; None for nowhere.

    Returns:
        The trained network in eval mode on the CPU, and the history, one entry per epoch.
    """
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    # channels_last halves the time of a convolution's step on a CPU and changes nothing for the others.
    network = cls().to(device).to(memory_format=torch.channels_last)
    images, labels = (part.to(device) for part in data.tensors(cls.data, "train", samples))
    test_images, test_labels = (part.to(device) for part in data.tensors(cls.data, "test"))
    loss_function, optimizer = cls.loss(), cls.optimizer(network.parameters(), lr=cls.lr, fused=True)
    history: list[Epoch] = []
    epochs = cls.epochs if epochs is None else epochs
    quiet = console is None or not console.is_terminal
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=quiet,
    ) as progress:
        batches = -(-len(images) // cls.batch_size)
        task = progress.add_task(cls.__name__, total=epochs * batches)
        for epoch in range(1, epochs + 1):
            network.train()
            for number, chosen in enumerate(torch.randperm(len(images)).to(device).split(cls.batch_size)):
                batch = images[chosen]
                if batch.ndim == 4:
                    batch = batch.to(memory_format=torch.channels_last)
                if cls.adversary is not None:
                    radius = cls.adversary.radius(epoch - 1 + number / batches)
                    batch = cls.adversary.perturbed(network, batch, labels[chosen], radius)
                optimizer.zero_grad()
                loss_function(network(batch), labels[chosen]).backward()
                optimizer.step()
                progress.advance(task)
            history.append(
                Epoch(epoch, *evaluate(network, images, labels), *evaluate(network, test_images, test_labels))
            )
            if console is not None:
                console.print(_line(history[-1], epochs))
    return network.cpu().to(memory_format=torch.contiguous_format).eval(), history


def _line(row: Epoch, epochs: int) -> str:
    return (
        f"epoch {row.epoch:2d}/{epochs}  train loss {row.train_loss:.4f} accuracy {row.train_accuracy:.2%}"
        f"  test loss {row.test_loss:.4f} accuracy {row.test_accuracy:.2%}"
    )


def save(network: Network, history: Sequence[Epoch], seed: int, folder: Path) -> Path:
    """Write a trained network's weights, record, history and plot into ``folder``.

    Files: ``<name>.safetensors``, ``<name>.json`` (SHA-256, seed, accuracies, hyperparameters),
    ``<name>.csv`` (one row per epoch) and ``<name>.svg``.

    Returns:
        The path of the weights.

    Raises:
        UsageError: ``folder`` cannot be written.
    """
    cls = type(network)
    content = to_safetensors({name: value.contiguous() for name, value in network.state_dict().items()})
    record = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "seed": seed,
        "epochs": len(history),
        "batch_size": cls.batch_size,
        "lr": cls.lr,
        **({"adversary": asdict(cls.adversary)} if cls.adversary is not None else {}),
        "train_accuracy": history[-1].train_accuracy,
        "test_accuracy": history[-1].test_accuracy,
        "torch": torch.__version__,
    }
    frame = pd.DataFrame([asdict(row) for row in history])
    path = folder / f"{cls.__name__}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")
        frame.to_csv(path.with_suffix(".csv"), index=False, float_format="%.6f")
        _plot(frame, cls.__name__, path.with_suffix(".svg"))
    except OSError as error:
        raise UsageError(f"--out {folder} cannot be written: {error.strerror}; choose another folder") from error
    return path


def _check_writable(folder: Path) -> None:
    """Check that a folder can be written before hours are spent on what goes there."""
    probe = folder / f".probe-{secrets.token_hex(8)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(f"--out {folder} cannot be written: {error.strerror}; choose another folder") from error


def _plot(frame: pd.DataFrame, name: str, path: Path) -> None:
    with sns.axes_style("whitegrid"):
        figure = Figure(figsize=(9, 3.5), layout="constrained")
        for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            for split in ("train", "test"):
                sns.lineplot(frame, x="epoch", y=f"{split}_{quantity}", label=split, ax=axes)
            axes.set(ylabel=quantity, title=f"{name}: {quantity}")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.savefig(path)


def parser() -> Parser:
    """The command line of ``python -m bench.train``."""
    parser = Parser(prog="python -m bench.train", description="Train one of the bench's networks.")
    parser.add_argument("network", choices=list(TRAINED), help="which network")
    parser.add_argument("--save", action="store_true", help="write weights, record, history and plot into --out")
    parser.add_argument("--out", type=Path, default=Path("results/training"), help="where --save writes (%(default)s)")
    parser.add_argument("--seed", type=_seed, default=0, help="of weights, order and dropout (%(default)s)")
    parser.add_argument("--epochs", type=_positive, default=None, help="instead of the network's own number")
    parser.add_argument("--samples", type=_positive, default=None, help="train on the first so many images only")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ... (%(default)s)")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not possible; give a whole number, 1 or more")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= SEEDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not possible; give a whole number from 0 to {SEEDS - 1}")
    return int(text)


def main(arguments: Sequence[str] | None = None, *, last: bool = False) -> int:
    """Run the command line; returns the exit code.

    Args:
        arguments: its words; None for those of the process.
        last: whether the process ends afterwards.
    """
    return command(lambda: _main(parser().parse_args(arguments)), last=last)


def _main(options: argparse.Namespace) -> int:
    if options.save:
        _check_writable(options.out)
    size = data.find(TRAINED[options.network].data).splits["train"].size
    if options.samples is not None and options.samples > size:
        raise UsageError(f"--samples {options.samples} is not possible; there are {size:,} images to train on")
    device = devices.usable(options.device)
    network, history = train(
        TRAINED[options.network],
        seed=options.seed,
        epochs=options.epochs,
        samples=options.samples,
        device=device,
        console=Console(),
    )
    if options.save:
        print(f"saved {save(network, history, options.seed, options.out)}")
    return 0


if __name__ == "__main__":
    leave(main(last=True))
