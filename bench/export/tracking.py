"""MLflow: a tracking store on disk, ``mlflow.db`` (SQLite) and ``artifacts/``, with a run of MLflow for each network."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.export.material import Material
from bench.export.names import safe
from bench.export.tables import tables
from bench.export.target import Place, Target

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE, ARTIFACTS = "mlflow.db", "artifacts"

LONGEST = 500
"""So many characters of a parameter are kept, which every version of MLflow takes."""

AT_ONCE = 100
"""So many parameters or metrics go into one call: MLflow takes no more parameters."""

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}
"""Settings of MLflow while it writes, unless the user has set them: it asks nothing of any network, and prints nothing."""

WHOLE = ("manifest.json", "report.html", "summary.json")
"""Files of the run's folder that become artefacts of every network, where they are there."""


def write(material: Material, place: Place) -> None:
    """Write the store.

    The database names the folder of artefacts by its path after the export; MLflow keeps an artefact at
    ``<folder>/<run>/artifacts/<file>``, where it is put without MLflow.

    Raises:
        UsageError: the folder's path cannot stand in the address of a database.
    """
    if set("?#") & set(str(place.folder)):
        raise UsageError(f"{place.final} holds ? or #, which a database's address cannot; give another --out")
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient  # noqa: PLC0415 - an extra

    client = MlflowClient(tracking_uri=f"sqlite:///{place.folder / DATABASE}")
    experiment = place.options.get("experiment", material.name)
    number = client.create_experiment(experiment, artifact_location=(place.final / ARTIFACTS).as_uri())
    ended = _milliseconds(material.manifest.get("ended") or material.manifest["started"])
    for network in material.evidence.networks:
        started = _milliseconds(material.manifest["started"])
        made = client.create_run(number, started, tags=_tags(material, network), run_name=network)
        run = made.info.run_id
        _log(client, run, material, network, ended)
        folder = place.folder / ARTIFACTS / run / "artifacts"
        folder.mkdir(parents=True)
        for file in WHOLE:
            if (material.run.path / file).is_file():
                shutil.copyfile(material.run.path / file, folder / file)
        for table, (frame, _, _) in tables(material).items():
            own = frame[frame["network"] == network] if "network" in frame else frame
            own.to_csv(folder / f"{table}.csv", index=False, lineterminator="\n")
        client.set_terminated(run, "FINISHED" if material.manifest.get("status") == "finished" else "KILLED", ended)


def _log(client: MlflowClient, run: str, material: Material, network: str, when: int) -> None:
    from mlflow.entities import Metric, Param  # noqa: PLC0415 - as above

    params = [Param(key, value[:LONGEST]) for key, value in parameters(material, network)]
    metrics = [Metric(key, value, when, 0) for key, value in numbers(material, network)]
    for first in range(0, max(len(params), len(metrics)), AT_ONCE):
        part = slice(first, first + AT_ONCE)
        client.log_batch(run, params=params[part], metrics=metrics[part])


def parameters(material: Material, network: str) -> Iterator[tuple[str, str]]:
    """What was run: the run's own words, and the parameters of every row as ``<row>.<parameter>``."""
    content = material.manifest
    told = next(each for each in content["networks"] if each["name"] == network)
    for key in ("source", "arguments", "weights", "sha256", "parameters"):
        if told.get(key) not in (None, ""):
            yield f"network_{key}", str(told[key])
    yield from material.provenance.items()
    for row in content["rows"]:
        for key, value in (row.get("params") or {}).items():
            yield f"{safe(row['name'])}.{safe(key)}", str(value)


def numbers(material: Material, network: str) -> Iterator[tuple[str, float]]:
    """The metrics of a network, those that are finite numbers.

    Yields:
        ``accuracy``; ``median_l2``, ``q1_l2`` and so on of the best known distances; ``robust_accuracy_l2_eps_0.5``; for
        each attack ``<row>.median``, ``.found_rate``, ``.ratio``, ``.optimality``, ``.seconds``, ``.forwards``, ``.backwards``.
    """
    told = next(each for each in material.manifest["networks"] if each["name"] == network)
    yield from _finite({"accuracy": told.get("accuracy")})
    medians = material.frames.plain("networks")
    for line in medians[medians["network"] == network].to_dict("records"):
        norm = line.pop("norm")
        yield from _finite({f"{key}_{norm}": value for key, value in line.items() if key != "network"})
    robust = material.frames.plain("robust_accuracy")
    for line in robust[robust["network"] == network].to_dict("records"):
        yield f"robust_accuracy_{line['norm']}_eps_{line['eps']:g}", float(line["robust_accuracy"])
    summary = material.frames.plain("summary")
    chosen = ("median", "found_rate", "ratio", "optimality", "seconds", "forwards", "backwards")
    for line in summary[summary["network"] == network].to_dict("records"):
        yield from _finite({f"{safe(line['attack'])}.{key}": line[key] for key in chosen})


def _finite(values: dict[str, Any]) -> Iterator[tuple[str, float]]:
    # MLflow's databases hold no infinity: it comes back as the largest float.
    for key, value in values.items():
        if value is not None and math.isfinite(value):
            yield key, float(value)


def _tags(material: Material, network: str) -> dict[str, str]:
    """The verdict, and the medians that are infinite, for which there is no metric."""
    medians = material.frames.plain("networks")
    own = medians[(medians["network"] == network) & (medians["median"] == math.inf)]
    infinite = {f"median_{norm}": "inf" for norm in own["norm"]}
    return {"verdict": material.verdict(network), "network": network} | infinite


def _milliseconds(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp() * 1000)


TARGET = Target(
    name="mlflow",
    title="a tracking store on disk: metrics, parameters and artefacts, a run for each network",
    write=write,
    options={"experiment": "name of the experiment (the run's name)"},
    packages=("mlflow",),
    install="pip install 'minimal-norm-bench[mlflow]'",
)
