"""The bench's command lines as sphinx-argparse reads them: their texts are no reStructuredText, and stay as they are."""

from __future__ import annotations

import argparse
import re

import bench.check.__main__
import bench.export.__main__
import bench.guide.paths
import bench.guide.pictures
import bench.guide.reference
import bench.guide.results.__main__
import bench.report.__main__
import bench.run
import bench.score.__main__
import bench.train

MARKS = re.compile(r"([*_`|\\])")


def _plain(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to its options
        if action.help and action.help != argparse.SUPPRESS:
            action.help = MARKS.sub(r"\\\1", action.help)
    for text in ("description", "epilog"):
        if getattr(parser, text):
            setattr(parser, text, MARKS.sub(r"\\\1", getattr(parser, text)))
    return parser


def run() -> argparse.ArgumentParser:
    """Of ``python -m bench.run``."""
    return _plain(bench.run.parser())


def report() -> argparse.ArgumentParser:
    """Of ``python -m bench.report``."""
    return _plain(bench.report.__main__.parser())


def check() -> argparse.ArgumentParser:
    """Of ``python -m bench.check``."""
    return _plain(bench.check.__main__.parser())


def export() -> argparse.ArgumentParser:
    """Of ``python -m bench.export``."""
    return _plain(bench.export.__main__.parser())


def score() -> argparse.ArgumentParser:
    """Of ``python -m bench.score``."""
    return _plain(bench.score.__main__.parser())


def train() -> argparse.ArgumentParser:
    """Of ``python -m bench.train``."""
    return _plain(bench.train.parser())


def pictures() -> argparse.ArgumentParser:
    """Of ``python -m bench.guide.pictures``."""
    return _plain(bench.guide.pictures.parser())


def reference() -> argparse.ArgumentParser:
    """Of ``python -m bench.guide.reference``."""
    return _plain(bench.guide.reference.parser())


def paths() -> argparse.ArgumentParser:
    """Of ``python -m bench.guide.paths``."""
    return _plain(bench.guide.paths.parser())


def results() -> argparse.ArgumentParser:
    """Of ``python -m bench.guide.results``."""
    return _plain(bench.guide.results.__main__.parser())
