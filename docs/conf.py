"""The site: ``tox -e docs`` builds it into ``docs/_build``."""

from __future__ import annotations

import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy.typing as npt
from sphinx.application import Sphinx

import bench

# Signatures name it, in place of the ten types that it stands for.
npt.ArrayLike = type("ArrayLike", (), {"__module__": "numpy.typing"})

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

# The figures of a notebook go into its page, whatever backend the shell names.
os.environ.pop("MPLBACKEND", None)

project = "minimal-norm bench"
author = "the developers of the bench"
release = version = bench.__version__
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinxarg.ext",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
nitpicky = True
# The inventories of other projects lie elsewhere, and the build asks for nothing from there.
LIBRARIES = (
    "msgspec|torch|nn|numpy|np|pandas|pd|pyarrow|pa|matplotlib|collections|contextlib|typing|pathlib|art|foolbox"
)
CLASSES = "Tensor|PyTorchClassifier|PyTorchModel|CLASSIFIER_TYPE"
nitpick_ignore_regex = [(r"py:.*", rf"(?:{LIBRARIES})(?:\..*)?|{CLASSES}")]

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_output_stderr = "remove"

autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90

html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False


SHAPE = re.compile(r"(?<!`)(\([\w, ]*\*shape[\w, ]*\))")
"""A shape such as (n, *shape), whose star would begin a word in italics."""

SEVERAL = re.compile(r"^( {4,}\w+(?:, \w+)+): ")
"""Attributes that are described together."""

NOTHING = "\\"
"""An escaped end of line, which stands for nothing. Napoleon takes no colon of a later line for the end of a type."""


def prepared(_app: Sphinx, what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """Make of our docstrings what Napoleon reads as it is meant: no types before colons, shapes as code."""
    lines[:] = [SHAPE.sub(r"``\1``", line) for line in lines]
    lines[:] = [SEVERAL.sub(lambda found: found[1].replace(", ", ",") + ": ", line) for line in lines]
    if what in ("attribute", "data", "property"):
        lines.insert(0, NOTHING)
    if "Returns:" in lines:
        place = lines.index("Returns:") + 1
        lines.insert(place, " " * 4 + NOTHING)


def shortened(  # the arguments are Sphinx's
    _app: Sphinx, _what: str, _name: str, _object: Any, _options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Write defaults that a function makes as ``...``: their names are no Python, and Sphinx could not read the line."""
    return signature and signature.replace("<factory>", "..."), returns


def setup(app: Sphinx) -> None:
    """Prepare docstrings before Napoleon reads them; take an empty folder of results for what it is."""
    app.connect("autodoc-process-docstring", prepared, priority=400)
    app.connect("autodoc-process-signature", shortened)
    logging.getLogger("sphinx.sphinx.directives.other").addFilter(
        lambda record: getattr(record, "subtype", "") != "empty_glob"
    )
