"""Exports: what the neighbour's own reader reads back is what the run says; nothing is overwritten, nothing half written."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pandas as pd
import pytest
import synthetic
import xarray as xr
import yaml

from bench import export, metrics, store
from bench.errors import StoreError, UsageError
from bench.export import TARGETS, Material, Place, Target, columns, tables
from bench.export import __main__ as command
from bench.norms import Norm
from bench.records import Status

NETWORKS = ("MLP", "CNN_d")
LIGHT = ("attackbench", "csv", "huggingface", "netcdf")
"""The targets whose packages the tests' environment has."""


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = synthetic.run(samples=8, networks=NETWORKS, seed=3, clean_errors=0.2, failures=0.5)
    return synthetic.write(run, tmp_path_factory.mktemp("results") / "made")


@pytest.fixture(scope="module")
def exports(stored: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("exports")
    return {name: export.export(stored, name, out / name) for name in LIGHT}


@pytest.fixture(scope="module")
def material(stored: Path) -> Material:
    return Material(store.read(stored))


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.parametrize("target", LIGHT)
def test_an_export_says_what_it_is_of(exports: dict[str, Path], target: str) -> None:
    stamp = json.loads((exports[target] / "made.json").read_text())
    assert (stamp["target"], stamp["run"], stamp["suite"]) == (target, "synthetic", "synthetic")
    assert stamp["revision"] == "fc357ae"


def test_csv_is_the_records_in_full_precision(exports: dict[str, Path], material: Material) -> None:
    read = pd.read_csv(exports["csv"] / "records.csv", engine="pyarrow")
    assert np.isinf(read["distance"]).any()
    for column in read.columns:
        own = material.records[column]
        if pd.api.types.is_numeric_dtype(read[column]):
            np.testing.assert_array_equal(read[column], own.to_numpy())
        else:
            assert read[column].tolist() == own.astype(str).tolist()
    curves = pd.read_csv(exports["csv"] / "curves.csv")
    assert len(curves) == sum(len(curve) for curve in material.records["curve"] if curve is not None)
    assert (curves.groupby(["network", "attack", "image"])["queries"].diff().dropna() > 0).all()


def test_every_table_of_csv_is_numbers_and_names_and_every_column_is_described(exports: dict[str, Path]) -> None:
    page = (exports["csv"] / "README.md").read_text()
    described = {
        "records": columns.RECORDS, "curves": columns.CURVES, "best": columns.BEST, "medians": columns.MEDIANS,
        "attacks": columns.ATTACKS, "robust_accuracy": columns.ROBUST, "images": columns.IMAGES,
    }  # fmt: skip
    assert {path.stem for path in exports["csv"].glob("*.csv")} == set(described)
    for name, meanings in described.items():
        frame = pd.read_csv(exports["csv"] / f"{name}.csv")
        assert list(frame.columns) == list(meanings)
        assert len(frame)
        for column, meaning in meanings.items():
            assert f"| `{column}` | {meaning} |" in page
            numeric = pd.api.types.is_numeric_dtype(frame[column])
            assert numeric != meaning.startswith("text"), (name, column)


def test_netcdf_is_the_records_as_arrays(exports: dict[str, Path], material: Material) -> None:
    with xr.open_dataset(exports["netcdf"] / "run.nc", engine="scipy") as lazy:
        read = lazy.load()
    assert dict(read.sizes) == {"network": 2, "attack": len(material.evidence.rows), "norm": 3, "image": 8}
    statuses = read["status"].attrs["flag_meanings"].split()
    assert statuses == [status.value for status in Status]
    for line in material.records.to_dict("records"):
        cell = read.sel(network=line["network"], attack=line["attack"], image=line["image"])
        for norm in Norm:
            assert float(cell[f"distance_{norm.value}"]) == line[norm.value]
        assert statuses[int(cell["status"])] == line["status"]
        assert float(cell["lower"]) == line["lower"]
        assert int(cell["label"]) == line["label"]
    for line in material.evidence.best.to_dict("records"):
        assert (
            float(read["best"].sel(network=line["network"], norm=line["norm"], image=line["image"])) == line["distance"]
        )
    assert np.isinf(read["distance_l2"]).any()
    assert read["distance_l2"].attrs["units"] == "grey level"
    assert str(read["image_sha256"].sel(image=3).item()) == material.manifest["image_sha256"]["3"]
    assert read.attrs["revision"] == "fc357ae"


def test_netcdf_has_nan_where_there_is_no_record(tmp_path: Path) -> None:
    run = synthetic.run(samples=12, networks=["MLP"])  # one row is capped to 10 images
    path = export.export(synthetic.write(run, tmp_path / "made"), "xarray")
    assert path == tmp_path / "made" / "export" / "netcdf"
    with xr.open_dataset(path / "run.nc", engine="scipy") as lazy:
        cell = lazy.load().sel(attack="art-cw-l2", network="MLP")
    assert np.isnan(cell["distance_l2"].to_numpy()).tolist() == [False] * 10 + [True] * 2
    assert cell["status"].to_numpy().tolist()[10:] == [-1, -1]


def test_hugging_face_reads_its_results_back(exports: dict[str, Path], material: Material) -> None:
    assert {path.name for path in exports["huggingface"].iterdir()} == {*NETWORKS, "made.json"}
    networks = metrics.METRICS["networks"](material.evidence)
    for network in NETWORKS:
        text = (exports["huggingface"] / network / ".eval_results" / "minimal_norm.yaml").read_text()
        read = huggingface_hub.parse_eval_result_entries(yaml.safe_load(text))
        values = {entry.task_id: entry.value for entry in read}
        assert len(values) == len(read)
        assert {entry.dataset_id for entry in read} == {"made-up"}
        assert {entry.date for entry in read} == {"2026-01-02T03:14:05+00:00"}
        assert values["accuracy"] == 0.98
        for line in networks[networks["network"] == network].to_dict("records"):
            assert values.get(f"median_{line['norm']}", np.inf) == line["median"]
        card = huggingface_hub.ModelCard.load(
            exports["huggingface"] / network / "README.md", ignore_metadata_errors=False
        )
        assert {result.metric_type: result.metric_value for result in card.data.eval_results or ()} == values


def test_hugging_face_takes_a_dataset_and_a_source(stored: Path, tmp_path: Path) -> None:
    words = ["--with", "dataset=me/digits", "url=https://example.org/x", "user=me", "name=Logs"]
    assert command.main([str(stored), "--to", "huggingface", "--out", str(tmp_path / "hf"), *words]) == 0
    text = (tmp_path / "hf" / "MLP" / ".eval_results" / "minimal_norm.yaml").read_text()
    (first, *_) = huggingface_hub.parse_eval_result_entries(yaml.safe_load(text))
    assert (first.dataset_id, first.source_url, first.source_user) == ("me/digits", "https://example.org/x", "me")


# MLflow uses what SQLAlchemy, and others, deprecate.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_mlflow_reads_its_store_back(stored: Path, material: Material, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    folder = export.export(stored, "mlflow", tmp_path / "store")
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (experiment,) = (each for each in client.search_experiments() if each.name == "synthetic")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == set(NETWORKS)
    for line in metrics.METRICS["summary"](material.evidence).to_dict("records"):
        found = runs[line["network"]].data.metrics
        assert found[f"{line['attack']}.forwards"] == line["forwards"]
        assert found.get(f"{line['attack']}.median", np.inf) == line["median"]
    run = runs["MLP"]
    assert run.data.params["seed"] == "3"
    assert run.data.params["foolbox-reference-l2.steps"] == "50"
    assert {"records.csv", "manifest.json"} <= {item.path for item in client.list_artifacts(run.info.run_id)}
    own = pd.read_csv(client.download_artifacts(run.info.run_id, "records.csv"))
    assert set(own["network"]) == {"MLP"}


def test_an_export_is_overwritten_only_by_force(
    stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a" / "b"
    words = [str(stored), "--to", "csv", "--out", str(out)]
    assert command.main(words) == 0
    assert capsys.readouterr().out == f"{out}\n"
    (out / "mine.txt").write_text("mine")
    assert command.main(words) == 2
    assert (
        capsys.readouterr().err
        == f"error: {out} is there already; --force writes it again, --out gives it another place\n"
    )
    assert (out / "mine.txt").exists()
    assert command.main([*words, "--force"]) == 0
    assert not (out / "mine.txt").exists()
    assert {path.name for path in out.parent.iterdir()} == {"b"}


def test_what_is_no_export_is_never_replaced(stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for out, reason in (
        (tmp_path, "holds other files"),
        (tmp_path / "mine.txt", "Not a directory"),
        (stored, "holds other files"),
    ):
        assert command.main([str(stored), "--to", "csv", "--force", "--out", str(out)]) == 2
        assert reason in capsys.readouterr().err
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--to", "netcfd"], "unknown export target 'netcfd'; known: attackbench, csv, huggingface, mlflow, netcdf, xarray, path/to/file.py:object, module:object; did you mean netcdf?"),
        (["--to", "csv", "--with", "colour=red"], "unknown option of --to csv 'colour'; known: none"),
        (["--to", "huggingface", "--with", "datasets=me/x"], "unknown option of --to huggingface 'datasets'; known: dataset, url, name, user; did you mean dataset?"),
        (["--to", "huggingface", "--with", "dataset"], "--with 'dataset' is not possible; give NAME=VALUE"),
        (["--to", "huggingface", "--with", "dataset=a b"], "dataset=a b is no identifier on the Hub; give one such as ylecun/mnist"),
        (["--to", "huggingface", "--with", "url=x"], "url=x is no address; give one that begins with https://"),
        (["--to", "huggingface", "--with", "user=x"], "user say whose source it is; give url= as well"),
        (["--to", "math:pi"], "export target 'math:pi' is a float; give a bench.export.Target"),
    ],
)  # fmt: skip
def test_what_cannot_be_exported_is_one_line(
    stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], line: str
) -> None:
    before = files(stored)
    assert command.main([str(stored), *words]) == 2
    assert capsys.readouterr().err == f"error: {line}\n"
    assert files(stored) == before
    assert command.main([str(tmp_path), "--to", "csv"]) == 2
    assert "is not a run" in capsys.readouterr().err


@pytest.mark.parametrize(("target", "package"), [("netcdf", "xarray"), ("huggingface", "yaml"), ("mlflow", "mlflow")])
def test_a_missing_package_is_one_line(
    stored: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, target: str, package: str
) -> None:
    monkeypatch.setattr(export, "find_spec", lambda _name: None)
    assert command.main([str(stored), "--to", target]) == 2
    assert capsys.readouterr().err == (
        f"error: --to {target} needs {package}: pip install 'minimal-norm-bench[{target}]'\n"
    )


def broken(_material: Material, place: Place) -> None:
    (place.folder / "half.txt").write_text("half")
    raise StoreError("it cannot go on")


@pytest.fixture
def as_entry_point(monkeypatch: pytest.MonkeyPatch) -> str:
    entry = EntryPoint("broken", f"{__name__}:BROKEN", "minimal_norm_bench.exports")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    monkeypatch.setattr("bench.plugins.entry_points", lambda group: [entry] if group == entry.group else [])
    return entry.name


BROKEN = Target(name="broken", title="a target from outside", write=broken)


def test_nothing_stays_of_an_export_that_fails(
    stored: Path, as_entry_point: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(stored)
    assert command.main([str(stored), "--to", as_entry_point]) == 2
    assert capsys.readouterr().err == "error: it cannot go on\n"
    assert files(stored) == before


def test_a_target_comes_from_a_file(stored: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(documented("from bench.export import Target"))
    assert command.main([str(stored), "--to", str(mine), "--out", str(tmp_path / "out")]) == 0
    assert len(pd.read_parquet(tmp_path / "out" / "records.parquet")) == len(store.read(stored).records())


def documented(begin: str) -> str:
    """The example of ``docs/neighbours.md`` that begins so."""
    page = (Path(__file__).parents[1] / "docs" / "neighbours.md").read_text()
    blocks: list[str] = re.findall("```python\n(.*?)```", page, flags=re.DOTALL)
    return next(block for block in blocks if block.startswith(begin))


def test_the_example_for_xarray_reads_a_run(exports: dict[str, Path], material: Material) -> None:
    named: dict[str, Any] = {}
    code = (
        documented("import xarray")
        .replace("results/mine/export/netcdf", str(exports["netcdf"]))
        .replace("ddn", "reference")
    )
    exec(code.replace('"CNN"', '"CNN_d"'), named)
    assert isinstance(named["run"], xr.Dataset)


@pytest.mark.parametrize("target", ["csv", "netcdf", "huggingface"])
def test_runs_of_the_oldest_format_are_exported(tmp_path: Path, target: str) -> None:
    old = Path(__file__).parent / "data" / "format1"
    folder = export.export(old, target, tmp_path / target)
    assert json.loads((folder / "made.json").read_text())["dataset"] == "mnist"
    assert not (old / "export").exists()


def test_every_target_is_one_object_with_its_name() -> None:
    for name in TARGETS:
        assert export.found(name).name == ("netcdf" if name == "xarray" else name)


def test_names_from_a_manifest_lead_nowhere(tmp_path: Path) -> None:
    run = synthetic.run(samples=3, networks=["MLP"])
    run.manifest["data"]["name"] = "../../up"
    stored = synthetic.write(run, tmp_path / "a" / "b" / "made")
    export.export(stored, "attackbench")
    assert {path.name for path in tmp_path.iterdir()} == {"a"}
    assert not (stored / "up").exists()


def test_a_folder_that_cannot_be_written_is_one_line(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(StoreError, match="cannot be written: No space left on device"):
        export.export(stored, "csv", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="unknown option"):
        export.export(stored, "csv", options={"a": "b"})


def test_a_run_that_is_not_finished_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = synthetic.run(samples=3, networks=["MLP"], status="interrupted")
    nothing = replace(whole, frame=whole.frame.iloc[:0], changed={})
    stored = synthetic.write(nothing, tmp_path / "made")
    for target in LIGHT:
        assert command.main([str(stored), "--to", target]) == 0
        assert capsys.readouterr().err == "note: the run is interrupted; what it has stored so far is exported\n"


def test_tables_of_a_run_without_curves_are_whole() -> None:
    run = synthetic.run(samples=3, networks=["MLP"])
    frame = run.frame.assign(curve=None)
    assert list(tables.curves(frame).columns) == list(columns.CURVES)


def test_an_export_needs_no_torch(stored: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom bench.export import __main__ as m\n"
        f"assert all(m.main([{str(stored)!r}, '--to', t, '--out', {str(tmp_path)!r} + '/' + t]) == 0 for t in {LIGHT!r})\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True)
