"""A run in the kernel of a notebook: one bar that ends full, a card, figures; and no noise."""

from __future__ import annotations

import re
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from bench import progress
from bench.progress import MEASURING

CELLS = (
    "import bench",
    "result = bench.evaluate('MLP_digits', 'digits', attacks=['foolbox-d*-l2'], norms=['l2'], samples=4, workers=0)",
    "result",
    "result.plot('accuracy', 'l2')",
)


@pytest.fixture(scope="module")
def outputs() -> list[list[Any]]:
    """What each cell shows."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    return [cell["outputs"] for cell in notebook["cells"]]


@pytest.mark.slow
def test_a_run_shows_one_bar_that_ends_full(outputs: list[list[Any]]) -> None:
    (shown,) = outputs[1]
    assert shown["output_type"] == "display_data"
    assert re.fullmatch(r"2/2 blocks, done, \d:\d\d:\d\d", shown["data"]["text/plain"])
    (bar,) = re.findall(r"<progress [^>]*>", shown["data"]["text/html"])
    assert 'max="2" value="2"' in bar
    assert "aria-label" in bar


@pytest.mark.slow
def test_a_result_is_a_card_and_a_figure_a_picture(outputs: list[list[Any]]) -> None:
    (card,), (figure,) = outputs[2:]
    assert "minimal-norm-card" in card["data"]["text/html"]
    assert "image/png" in figure["data"]


def test_a_bar_is_updated_in_place_and_injects_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = progress._Bar()
    shown: list[dict[str, str]] = []

    class Handle:
        def update(self, content: Any) -> None:
            shown.append(content._repr_mimebundle_())

    def display(content: Any, *, display_id: bool) -> Handle:
        assert display_id
        shown.append(content._repr_mimebundle_())
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    bar.show("loading <b>one</b>")
    bar.done, bar.planned = 3, 7
    bar.show(MEASURING)
    first, second = shown
    assert "loading &lt;b&gt;one&lt;/b&gt;" in first["text/html"]
    assert "max=" not in first["text/html"], "it is not known yet how much there is"
    assert 'max="7" value="3"' in second["text/html"]
    assert second["text/plain"].startswith(f"3/7 blocks, {MEASURING}, 0:00:0")
