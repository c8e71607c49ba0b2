"""Training: seeded, the same numbers twice, and files that the bench can load."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from bench import networks
from bench.networks import loading, mnist
from bench.networks.trained import TRAINED
from bench.train import main, train


def test_the_same_seed_gives_the_same_network_and_history() -> None:
    (first, history), (second, again) = (train(TRAINED["MLP_d"], seed=3, epochs=1, samples=320) for _ in range(2))
    assert history == again
    assert networks.fingerprint(first) == networks.fingerprint(second)
    other, _ = train(TRAINED["MLP_d"], seed=4, epochs=1, samples=320)
    assert networks.fingerprint(other) != networks.fingerprint(first)


def test_a_trained_network_is_saved_with_its_record_and_loads_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["CNN", "--save", "--epochs", "2", "--samples", "640", "--out", str(tmp_path)]
    assert main(arguments) == 0
    output = capsys.readouterr().out
    assert "epoch  2/2  train loss" in output
    assert output.splitlines()[-1] == f"saved {tmp_path}/CNN.safetensors"
    history = pd.read_csv(tmp_path / "CNN.csv")
    assert list(history.columns) == ["epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]
    assert history["train_loss"].is_monotonic_decreasing
    assert "<svg" in (tmp_path / "CNN.svg").read_text()
    record = json.loads((tmp_path / "CNN.json").read_text())
    assert record["test_accuracy"] == pytest.approx(history["test_accuracy"].iloc[-1], abs=1e-6)
    monkeypatch.setattr(loading, "WEIGHTS", tmp_path)
    network = networks.load("CNN")
    (spec,) = networks.specs([f"{mnist.__file__}:CNN"], str(tmp_path / "CNN.safetensors"))
    assert networks.fingerprint(networks.load(spec)) == networks.fingerprint(network)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    arguments = ["MLP", "--save", "--epochs", "1", "--samples", "32", "--out", str(tmp_path / "file" / "x")]
    assert main(arguments) == 2
    output, errors = capsys.readouterr()
    assert "cannot be written" in errors
    # Before it has trained, and not after it.
    assert output == ""


@pytest.mark.parametrize("device", ["nonsense", "meta", "cuda:99"])
def test_a_device_that_is_not_there_is_a_line(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["MLP", "--epochs", "1", "--samples", "32", "--device", device]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith(f"error: --device {device} cannot be used here")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["LeNet"],
        ["MLP", "--epochs", "0"],
        ["MLP", "--samples", "-1"],
        ["MLP", "--samples", "many"],
        ["MLP", "--seed", "-1"],
        ["MLP", "--seed", str(10**22)],
        [],
    ],
)
def test_bad_arguments_end_with_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage" in capsys.readouterr().err
