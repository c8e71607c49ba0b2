"""A finished run in four small files, to be kept beside code: all records, and adversarial examples of a few images.

It reads, renders and compares as the run that it was made of. It can neither be judged again nor go on: for that the run is made
again.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.arguments import typed
from bench.errors import StoreError
from bench.records import columns, schema
from bench.store.files import EXAMPLES, EXAMPLES_FILE, RECORDS_FILE
from bench.store.reader import Run, read
from bench.store.writer import Writer


@dataclass(frozen=True, slots=True)
class Kept:
    """What a thinned run has beside its records.

    Attributes:
        images: indices in the split of the clean images that stay.
        examples: the images whose adversarial examples stay, by network and attack.
    """

    images: Collection[int]
    examples: Mapping[tuple[str, str], Collection[int]]


def thin(run: Run, target: Path, kept: Kept) -> Path:
    """Write a finished run as a thinned one, in the place of an earlier thinned one.

    Args:
        run: finished, with all its parts.
        target: the folder to write.
        kept: which images and examples stay.

    Returns:
        The folder.

    Raises:
        StoreError: the run is not finished, is thinned itself, or a part of it is damaged; or the folder holds something
            else, or cannot be written.
    """
    run.require_whole("thinned")
    if run.manifest.get("status") != "finished":
        raise StoreError(f"{run.path} is not finished; go on with python -m bench.run --resume {run.path}")
    if target.exists() and not read(target).thinned:
        raise StoreError(
            f"{target} is a whole run, which a thinned one does not take the place of; give another folder"
        )
    temporary = target.with_name(f".{target.name}.new")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        _write(run, Writer(temporary), kept)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror}; make room or mend the permissions") from error
    return target


def _write(run: Run, writer: Writer, kept: Kept) -> None:
    indices, pictures = run.images()
    stay = np.isin(indices, sorted(kept.images))
    # The hashes by which AttackBench knows images go with the images.
    content = {key: value for key, value in run.manifest.items() if key not in ("format", "image_sha512")}
    content["images_file_sha256"] = writer.images(indices[stay].tolist(), pictures[stay])
    content["command"] = typed(content["command"])
    content["thinned"] = {
        "records_sha256": writer.table(RECORDS_FILE, _records(run)),
        "examples_sha256": writer.table(EXAMPLES_FILE, _examples(run, kept)),
    }
    writer.manifest(content)


def _records(run: Run) -> pa.Table:
    frame = run.records().astype({"network": object, "attack": object})
    return pa.Table.from_pandas(frame[columns()], schema=schema(), preserve_index=False)


def _examples(run: Run, kept: Kept) -> pa.Table:
    lines: list[tuple[str, str, int, bytes]] = []
    for (network, attack), images in sorted(kept.examples.items()):
        found = run.candidates(network, attack)
        lines += [
            (network, attack, image, found[image].astype("<f4").tobytes()) for image in sorted(images) if image in found
        ]
    names = EXAMPLES.names
    return pa.table({name: [line[place] for line in lines] for place, name in enumerate(names)}, schema=EXAMPLES)
