"""Code of users that changes the process, its argument or itself: the right distances all the same, or the cause in a line."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import odd_networks
import pandas as pd
import pytest
import torch

from bench import run, store
from bench.engine import session
from bench.engine.request import Request
from bench.errors import StoreError
from bench.report import __main__ as command
from bench.usercode import Globals

ODD = str(odd_networks.HERE)

SHARED = {
    "torch's random numbers",
    "NumPy's random numbers",
    "Python's random numbers",
    "the filters of warnings",
    "the environment",
}
"""What a run and the libraries it imports change in their own process."""


def arguments(folder: Path, *texts: str, samples: int = 3, suite: str = "smoke") -> list[str]:
    options = ["--suite", suite, "--samples", str(samples), "--workers", "0", "--out", str(folder), "--name", "run"]
    return [*options, "--networks", *texts]


def distances(folder: Path, *texts: str) -> pd.DataFrame:
    """The L2 distances that DDN finds: images x networks."""
    request = Request(suite="smoke", samples=3, networks=texts, attacks=("foolbox-ddn-l2",), device="cpu")
    records = session.run(request, folder / "run", how=session.How(workers=0)).records()
    assert set(records["status"]) <= {"found", "misclassified"}, records[records["status"] == "error"][
        "message"
    ].to_dict()
    return records.pivot_table(index="image", columns="network", values="l2", observed=True)


TOPS = (
    "torch.set_grad_enabled(False)",
    "torch.set_default_dtype(torch.float64)",
    "torch.set_default_device('meta')",
    "torch.use_deterministic_algorithms(True)",
    "torch.autograd.set_detect_anomaly(True)",
    "torch.set_float32_matmul_precision('medium')",
    "torch.set_autocast_enabled('cpu', True)",
    "torch.set_flush_denormal(True)",
    "torch.set_num_threads(7)",
    "torch._C._set_mkldnn_enabled(False)",
    "torch.nn.modules.module.register_module_forward_hook(lambda m, a, o: o * 0)",
    "np.seterr(all='raise')",
    "warnings.simplefilter('error')",
    "os.chdir('/')",
    "os.environ.update(OMP_NUM_THREADS='7', TMPDIR='/nowhere')",
    "sys.path[:] = []",
    "sys.setrecursionlimit(300)",
    "sys.stdout = sys.stderr = None",
    "torch.manual_seed(5); np.random.seed(5); random.seed(5)",
    "sys.modules['bench.judge'] = sys.modules['adapters'] = random",
    "signal.signal(signal.SIGINT, signal.SIG_IGN)",
    "gc.disable()",
    "matplotlib.rcParams['figure.dpi'] = 3",
)


def test_what_files_do_at_their_top_changes_nobodys_distances(tmp_path: Path) -> None:
    for number, top in enumerate(TOPS):
        head = "import gc, os, random, signal, sys, warnings\nimport matplotlib, numpy as np, torch\nfrom bench import networks\n"
        body = f"{top}\ndef n{number}():\n    return torch.nn.Sequential(*networks.load('MLP').children())\n"
        (tmp_path / f"top{number}.py").write_text(head + body)
    before = Globals.now()
    found = distances(tmp_path / "out", "MLP", *(f"{tmp_path}/top{n}.py:n{n}" for n in range(len(TOPS))))
    assert not set(before.changed()) - SHARED
    assert [top for n, top in enumerate(TOPS) if not found[f"n{n}"].equals(found["MLP"])] == []


def test_what_forwards_do_changes_nobodys_distances_and_all_verify(tmp_path: Path) -> None:
    before = Globals.now()
    found = distances(tmp_path, "MLP", *(f"{ODD}:{name}" for name in odd_networks.SAME))
    assert not set(before.changed()) - SHARED
    assert "MINE" not in os.environ
    different = [name for name in odd_networks.SAME if found[name].to_numpy() != pytest.approx(found["MLP"], rel=1e-6)]
    assert different == []
    assert command.main(["--verify", "--trust", "--workers", "0", "--seconds", "0", str(tmp_path / "run")]) == 0


def test_what_cannot_be_told_by_its_printed_form_goes_on(tmp_path: Path) -> None:
    texts = [f"{ODD}:{name}" for name in ("Counting", "Showing", "the_same_module")]
    found = distances(tmp_path, *texts)
    assert distances(tmp_path, *texts).equals(found)


@pytest.mark.parametrize("attack", ["foolbox-boundary-l2", "art-hopskipjump-l2"])
def test_a_forward_that_seeds_does_not_steer_the_attacks(tmp_path: Path, attack: str) -> None:
    seeding = ["seeds_torch" if attack.startswith("foolbox") else "seeds_numpy"]
    texts = [f"{ODD}:{name}" for name in ["Net", *seeding]]
    assert run.main([*arguments(tmp_path, *texts, samples=1, suite="minimal_norm"), "--attacks", attack]) == 0
    found = store.read(tmp_path / "run").records().set_index("network")["l2"]
    for name in seeding:
        # Each network has seeds of its own: distances are alike, not equal. Numbers that repeat at each step cost a factor.
        assert found[name] == pytest.approx(found["Net"], rel=0.35)


def test_a_forward_may_write_into_its_argument(tmp_path: Path) -> None:
    names = [name for pair in odd_networks.PAIRS for name in pair]
    found = distances(tmp_path, *(f"{ODD}:{name}" for name in names))
    for pure, in_place in odd_networks.PAIRS:
        assert found[in_place].to_numpy() == pytest.approx(found[pure].to_numpy(), rel=1e-5)
    stored = store.read(tmp_path / "run")
    hashes = [hashlib.sha256(image.tobytes()).hexdigest() for image in stored.images()[1]]
    assert hashes == list(stored.manifest["image_sha256"].values())
    assert stored.images()[1].max() > 0.95


@pytest.mark.parametrize(("name", "message"), odd_networks.REFUSED.items())
def test_what_is_no_function_of_the_image_is_refused_with_its_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, message: str
) -> None:
    forward = torch.nn.Linear.forward
    assert run.main(arguments(tmp_path, f"{ODD}:{name}")) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert re.search(message, errors), errors
    assert torch.nn.Linear.forward is forward


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("torch.nn.functional.relu = lambda x: x * 0", "replaces torch.nn.functional.relu for the whole process"),
        ("torch.Tensor.relu = lambda x: x * 0", "replaces torch.Tensor.relu for the whole process"),
        ("import bench.judge\nbench.judge.Judge.decide = lambda *_: []", "replaces bench.judge.Judge.decide"),
    ],
)
def test_a_file_that_replaces_what_all_use_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], code: str, message: str
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f"import torch\n{code}\ndef make():\n    return torch.nn.Flatten()\n")
    assert run.main(arguments(tmp_path, f"{path}:make")) == 2
    assert message in capsys.readouterr().err


def test_lower_precision_inside_a_network_fails_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "import torch\nfrom odd_networks import Net\ndef coarse():\n"
        "    return Net(after=lambda z: z.bfloat16().to(z) if z.dtype is torch.float32 else z)\n"
    )
    assert run.main([*arguments(tmp_path, f"{path}:coarse"), "--attacks", "foolbox-ddn-l2"]) == 0
    assert "attacks and judge see two networks" in " ".join(capsys.readouterr().out.split())
    assert store.read(tmp_path / "run").manifest["networks"][0]["preflight"]["float64"]["status"] == "fail"


def test_files_of_two_folders_see_their_own_neighbours_at_every_call(tmp_path: Path) -> None:
    for folder, factor in (("a", 1.0), ("b", 0.5)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "beside.py").write_text(f"def factor_{folder}():\n    return {factor}\n")
        (tmp_path / folder / "__init__.py").write_text("")
        (tmp_path / folder / "make.py").write_text(
            f"from odd_networks import Net\nfrom .beside import factor_{folder} as relative\n"
            f"def step(x):\n    from beside import factor_{folder} as factor\n    return x * factor()\n"
            f"def late_{folder}():\n    return Net(step)\n"
            f"def relative_{folder}():\n    return Net(lambda x: x * relative())\n"
        )
    texts = [f"{tmp_path}/{folder}/make.py:{how}_{folder}" for how in ("late", "relative") for folder in ("a", "b")]
    found = distances(tmp_path / "out", "MLP", *texts)
    for name in ("late_a", "relative_a"):
        assert found[name].equals(found["MLP"])
    for name in ("late_b", "relative_b"):
        assert found[name].to_numpy() == pytest.approx(found["relative_b"].to_numpy())
        assert not found[name].equals(found["MLP"])


def test_a_neighbour_that_is_edited_is_another_network_at_the_next_resume(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("FACTOR = 1.0\n")
    path = tmp_path / "make.py"
    path.write_text(
        "from odd_networks import Net\nimport beside\ndef make():\n    return Net(lambda x: x * beside.FACTOR)\n"
    )
    distances(tmp_path, f"{path}:make")
    (tmp_path / "beside.py").write_text("FACTOR = 0.9\n")
    with pytest.raises(StoreError, match="its logits on fixed points differ"):
        distances(tmp_path, f"{path}:make")
