"""Distances from elsewhere: read rightly or refused in a line, scored as a run's are, shown on one page."""

from __future__ import annotations

import csv
import io
import math
import re
import subprocess
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from bench import export, metrics, score, store
from bench.errors import BenchError, DataError
from bench.norms import Norm
from bench.report.frames import Frames
from bench.score import __main__ as command
from bench.score import cells, layout, show
from bench.score.given import scored

INF = math.inf
TABLE = "image,ddn,fmn,pgd\na,0.5,0.6,inf\nb,0.7,0.65,0.9\nc,0,0,0\nd,1.2,1.3,\ne,0.9,0.95,1.4\n"
BEST = "image,distance\na,0.5\nb,0.6\nc,0\nd,1.2\ne,0.9\n"


def file(folder: Path, content: str | bytes, name: str = "distances.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refused(folder: Path, content: str | bytes, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command says of a file that it refuses, without ``error: distances.csv``; nothing is written."""
    path = file(folder, content)
    before = sorted(folder.iterdir())
    assert command.main([str(path), *words]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert sorted(folder.iterdir()) == before
    assert told.err.count("\n") == 1
    assert told.err.startswith("error: ")
    return told.err.removeprefix("error: ").removeprefix("distances.csv").strip(",: \n")


def read(folder: Path, content: str | bytes, norm: Norm | None = None) -> dict[tuple[str, str, str, str], float]:
    """(network, attack, norm, image) -> distance."""
    table = layout.distances(file(folder, content), norm)
    return {(e.network, e.attack, str(e.norm), e.image): e.distance for e in table.entries}


def test_scores_are_those_of_the_metrics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, best = file(tmp_path, TABLE), file(tmp_path, BEST, "best.csv")
    assert command.main([str(path), "--best", str(best)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == str(tmp_path / "distances-scores" / "scores.html")
    table = pd.read_csv(tmp_path / "distances-scores" / "scores.csv")
    optimum = [0.5, 0.6, 0, 1.2, 0.9]
    given = {"ddn": [0.5, 0.7, 0, 1.2, 0.9], "fmn": [0.6, 0.65, 0, 1.3, 0.95], "pgd": [INF, 0.9, 0, 1.4]}
    lines = {str(line["attack"]): line for line in table.to_dict("records")}
    for name, distances in given.items():
        line, own = lines[name], [0.5, 0.6, 0, 0.9] if name == "pgd" else optimum
        assert line["median"] == metrics.median(distances)
        assert (line["median_low"], line["median_high"]) == metrics.median_interval(distances)
        assert line["optimality"] == pytest.approx(metrics.optimality(distances, own))
        ratios = np.array([d / b for d, b in zip(distances, own, strict=True) if b > 0])
        assert line["ratio"] == metrics.median(ratios)
        assert line["found_rate"] == np.isfinite(np.array(distances)[np.array(distances) > 0]).mean()
        assert line["misclassified"] == 1
    for word in ("ddn", "fmn", "pgd", "66.7%", "0.7 (0 to 1.2)", "0.938", "Robust accuracy in L2"):
        assert word in out
    curves = pd.read_csv(tmp_path / "distances-scores" / "curves.csv")
    for name, distances in given.items():
        for line in curves[curves["attack"] == name].to_dict("records"):
            assert line["robust_accuracy"] == metrics.robust_accuracy(distances, line["eps"])


def test_a_runs_own_distances_score_as_in_its_report(tmp_path: Path) -> None:
    run = synthetic.run(samples=10, networks=["MLP", "CNN_d"], seed=2, clean_errors=0.1)
    tables = export.export(synthetic.write(run, tmp_path / "made"), "csv")
    records = pd.read_csv(tables / "records.csv")
    records[records["kind"] == "upper"].to_csv(tmp_path / "distances.csv", index=False)
    result = scored(layout.distances(tmp_path / "distances.csv"), layout.best(tables / "best.csv"))
    stored = store.read(tmp_path / "made")
    own = metrics.METRICS["summary"](metrics.evidence(stored.records(), stored.manifest))
    expected = own.astype({"network": str, "attack": str}).set_index(["network", "attack"])
    found = show.scores(Frames(result.evidence)).astype({"network": str, "attack": str})
    found = found.set_index(["network", "attack"])
    assert set(found.index) == set(expected.index)
    columns = [
        "median",
        "median_low",
        "q1",
        "q3",
        "ratio",
        "ratio_low",
        "ratio_high",
        "optimality",
        "misclassified",
        "images",
    ]
    pd.testing.assert_frame_equal(found[columns], expected.loc[found.index, columns], check_names=False)
    assert any("columns that are not used: library, kind" in note for note in result.notes)


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_asks_for_nothing_and_escapes_names(tmp_path: Path) -> None:
    names = ["<script>alert(1)</script>", "$x$", "=1+1", "50 %"]
    lines = [
        ",".join(["image", *names]),
        *(f"i{i},{0.1 * i + 0.1},{0.1 * i + 0.2},{0.5 + i},{i + 1}" for i in range(9)),
    ]
    folder = score.score(file(tmp_path, "\n".join(lines))).folder
    html = (folder / "scores.html").read_text()
    assert "<script>alert" not in html
    tags = Tags(html).found
    for _, values in tags:
        for name in ("src", "href", "xlink:href", "action"):
            address = values.get(name)
            assert address is None or address.startswith(("#", "data:")), address
    assert {"default-src 'none'" in str(values.get("content")) for tag, values in tags if tag == "meta"} >= {True}
    ids = {str(values.get("id")) for _, values in tags}
    assert {"intervals-l2", "security-l2", "accuracy-l2", "rows-l2", "table-attacks", "table-robust"} <= ids
    assert pd.read_csv(folder / "scores.csv")["attack"].tolist() == names


def test_networks_are_compared_where_there_are_several(tmp_path: Path) -> None:
    tidy = "image,network,attack,norm,distance\n" + "\n".join(
        f"{i},{network},ddn,{norm},{(1 + i) * scale}"
        for i in range(8)
        for network, scale in (("a", 1), ("b", 2))
        for norm in ("L2", "linf")
    )
    result = score.score(file(tmp_path, tidy))
    html = (result.folder / "scores.html").read_text()
    assert "The networks compared" in html
    assert 'id="table-pairs"' in html
    assert set(pd.read_csv(result.folder / "scores.csv")["attack"]) == {"ddn L2", "ddn Linf"}


@pytest.mark.parametrize(
    "content",
    [
        "image,ddn,fmn\n1,0.5,inf\n2,,2\n",
        "image;ddn;fmn\n1;0.5;inf\n2;;2\n",
        "image\tddn\tfmn\r\n1\t0.5\tInfinity\r\n2\t\t2\r\n",
        "image|ddn|fmn\n1|0.5|+INF\n2||2\n",
        "\ufeffimage,ddn,fmn\n1,0.5,∞\n2,,2\n",
        '\ufeff"Image","ddn","fmn"\n"1","0.5","inf"\n"2","","2"\n',
        " image , ddn , fmn \n 1 , +.5 , inf \n\n 2 , , 2e0 \n",
        "attack,image,distance\nddn,1,0.5\nfmn,1,inf\nddn,2,\nfmn,2,2.\n",
        "Distance;Image;Attack\n0.5;1;ddn\ninf;1;fmn\n2;2;fmn\n",
        "image,ddn,fmn\r1,0.5,inf\r2,,2\r",
    ],
    ids=repr,
)
def test_the_same_table_is_read_in_every_dress(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, content) == {
        ("network", "ddn", "l2", "1"): 0.5,
        ("network", "fmn", "l2", "1"): INF,
        ("network", "fmn", "l2", "2"): 2.0,
    }


@pytest.mark.parametrize(
    ("content", "words", "line"),
    [
        ("", (), "it is empty; give a header, and a line for each image"),
        ("image,a\n", (), "it has a header and no lines; give a line for each image"),
        ("image,a\n1,\n", (), "no cell holds a distance; give numbers, and inf where nothing was found"),
        ("image,a,b\n1,1,\n", (), "column 'b': no cell holds a distance; leave the column out"),
        ("image\n1\n", (), "line 1: there is no column of an attack; give one for each, under its name"),
        ("img,a\n1,2\n", (), "line 1: there is no column 'image' among 'img', 'a'; give a header that has it, with cells separated by commas, semicolons, tabs or bars; is it 'img'?"),
        ("image:a\n1:2\n", (), "line 1: there is no column 'image' among 'image:a'; give a header that has it, with cells separated by commas, semicolons, tabs or bars; is it 'image:a'?"),
        ("1,0.5\n2,0.6\n", (), "line 1: there is no column 'image' among '1', '0.5'; give a header that has it, with cells separated by commas, semicolons, tabs or bars"),
        (",image,a\n0,1,2\n", (), "line 1: column 1 has no name; name it, or leave it out (pandas: to_csv(..., index=False))"),
        ("image,a,a\n1,2,3\n", (), "line 1: column 'a' is there twice; give each attack a name of its own"),
        ("image,Image,a\n1,2,3\n", (), "line 1: column 'image' is there twice; give each attack a name of its own"),
        ("image,a\n1,nan\n", (), f"line 2, column 'a': 'nan' does not say whether an attack found nothing or was not run; {cells.ALLOWED}"),
        ("image,a\n1,2\n2,N/A\n", (), f"line 3, column 'a': 'N/A' does not say whether an attack found nothing or was not run; {cells.ALLOWED}"),
        ("image,a\n1,-0.5\n", (), f"line 2, column 'a': '-0.5' is negative; a distance is a length: {cells.ALLOWED}"),
        ("image,a\n1,-inf\n", (), f"line 2, column 'a': '-inf' is no distance; {cells.ALLOWED}"),
        ("image,a\n1,1e999\n", (), "line 2, column 'a': '1e999' is no size of a change: give 0, or a number from 1e-50 to 1e+50, or inf where nothing was found"),
        ("image,a\n1,0x1p3\n", (), f"line 2, column 'a': '0x1p3' is no distance; {cells.ALLOWED}"),
        ("image,a\n1,٣\n", (), f"line 2, column 'a': '٣' is no distance; {cells.ALLOWED}"),
        ('image,a\n1,"1,234.5"\n', (), "line 2, column 'a': '1,234.5' has separators of thousands, or a comma for a point; write the digits alone, with a point"),
        ("image,a\n1,1_000\n", (), "line 2, column 'a': '1_000' has separators of thousands, or a comma for a point; write the digits alone, with a point"),
        ("image;a\n1;0,5\n", (), "line 2, column 'a': '0,5' has a comma for a point; write 0.5, not 0,5"),
        ("image,a\n1,1,234.5\n", (), "line 2: it has 3 cells, and the header 2; give one for each column, and write numbers with a point, without separators of thousands"),
        ("image,a\n1;2\n", (), "line 2: it has 1 cells, and the header 2; separate cells by the header's comma"),
        ("image;a\n1;2;3\n", (), "line 2: it has 3 cells, and the header 2; give one for each column"),
        ("image,a\n1,2\n\n1,3\n", (), "line 4, column 'image': image '1' of 'a' is there already, in line 2; give each image once"),
        ("attack,image,distance\na,1,2\na,1,2\n", (), "line 3, column 'image': image '1' of 'a' is there already, in line 2; give each image once"),
        ("image,a\n,2\n", (), "line 2, column 'image': the cell is empty; give the image of this line"),
        ("attack,image,distance\n,1,2\n", (), "line 2, column 'attack': the cell is empty; give the attack of this line"),
        ("attack,image,distance,nework\na,1,2,x\n", (), "line 1, column 'nework': did you mean 'network'? Name it so, or otherwise"),
        ("attack,image\na,1\n", (), "line 1: there is a column 'attack' and no column 'distance'; give both, or a column for each attack under its name"),
        ("image,distance\n1,1\n", (), "line 1: there is a column 'distance' and no column 'attack'; give both, or a column for each attack under its name"),
        ("image,norm,a\n1,l3,2\n", (), "line 2, column 'norm': unknown norm 'l3'; known: l0, l1, l2, linf"),
        ("image,norm,a\n1,l2,2\n", ("--norm", "l2"), "--norm l2 is given, and distances.csv has a column 'norm'; leave one of the two out"),
        ("image,a\n1,2.5\n", ("--norm", "L0"), "line 2, column 'a': 2.5 is no distance in L0, which counts values; give a whole number, or another norm"),
        ("image,a,b\n1,0,2\n", (), "line 2, column 'a': image '1' has distance 0 by 'a', so it is wrong unchanged, and 2 by 'b' in line 2; give 0 for every attack, or none"),
        ('image,a\n"1,2\n', (), "line 2: it cannot be read (unexpected end of data); close its quotation marks, and separate cells alike"),
        ('image,"a\n1,2\n', (), "line 1: the header cannot be read (unexpected end of data); close its quotation marks"),
        ("image,a\n1\u202e,2\n", (), "line 2, column 'image': the name '1\\u202e' holds characters that cannot be seen; leave them out"),
        (f"image,{'x' * 200}\n1,2\n", (), f"line 1, column 2: the name {'x' * 40!r}... has 200 characters; give at most 100"),
        ("image,a\n1,2\n".encode("utf-16"), (), "it is UTF-16; save it as CSV in UTF-8"),
        (b"image,a\n1,2\n\xe9,3\n", (), "line 3: it is not UTF-8; save it as CSV in UTF-8"),
        ("image,a\n1,2\n\0,3\n", (), "line 3: it holds a NUL character and is no text; save it as CSV in UTF-8"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | bytes, words: Sequence[str], line: str
) -> None:
    assert refused(tmp_path, content, capsys, *words) == line


@pytest.mark.parametrize(
    ("best", "line"),
    [
        ("image,distance\na,0.5\nb,0.6\nc,0\nd,1.2\n", "line 6, column 'image': best.csv has no best known distance of image 'e' in L2; add a line for it, or leave the image out here"),
        ("image,distance\na,0.5\nb,0.66\nc,0\nd,1.2\ne,0.9\n", "line 3, column 'fmn': image 'b' has distance 0.65 by 'fmn', nearer than the best known 0.66 in best.csv, line 3; give the smaller one there, or leave --best out: then the smallest of all attacks counts"),
        ("image,distance\na,inf\nb,inf\nc,0\nd,1.2\ne,0.9\n", "line 2, column 'ddn': image 'a' has distance 0.5 by 'ddn', nearer than the best known inf in best.csv, line 2 (2 distances of this attack are below theirs); give the smaller one there, or leave --best out: then the smallest of all attacks counts"),
        ("image,distance\na,0.5\na,0.5\n", "best.csv, line 3, column 'image': image 'a' is there already, in line 2; give each image once"),
        ("image,nearest\na,0.5\n", "best.csv, line 1: there is no column 'distance' (or 'best'); give the best known distance of each image in it"),
        ("image,norm,distance\na,linf,0.5\n", "line 2, column 'image': best.csv has no best known distance of image 'a' in L2; add a line for it, or leave the image out here"),
    ],
)  # fmt: skip
def test_best_distances_that_do_not_fit_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], best: str, line: str
) -> None:
    path = file(tmp_path, best, "best.csv")
    assert refused(tmp_path, TABLE, capsys, "--best", str(path)) == line


def test_best_distances_need_the_columns_that_tell_them_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = file(tmp_path, "image,distance\n1,1\n", "best.csv")
    networks = "network,image,a\nx,1,1\ny,1,1\n"
    told = refused(tmp_path, networks, capsys, "--best", str(best))
    assert told == "best.csv, line 1: there is no column 'network', and distances.csv has several of them; add it"
    told = refused(tmp_path, "norm,image,a\nl1,1,1\nl2,1,1\n", capsys, "--best", str(best))
    assert told == "best.csv, line 1: there is no column 'norm', and distances.csv has several of them; add it"
    both = file(tmp_path, "network,image,distance,norm\nx,1,1,l2\ny,1,1,l2\n", "best.csv")
    told = refused(tmp_path, "network,image,a\nx,1,1\nz,1,1\n", capsys, "--best", str(both))
    assert told.startswith(
        "line 3, column 'image': best.csv has no best known distance of image '1' in L2 of network 'z'"
    )


def test_one_network_has_one_name(tmp_path: Path) -> None:
    given = layout.distances(file(tmp_path, "image,a\n1,1\n2,3\n"))
    best = layout.best(file(tmp_path, "network,image,best\nMLP,1,1\nMLP,2,2\nMLP,7,1\n", "best.csv"))
    assert scored(given, best).evidence.best["distance"].tolist() == [1, 2]


def test_a_solvers_tolerance_is_forgiven(tmp_path: Path) -> None:
    given = layout.distances(file(tmp_path, "image,a\n1,0.99995\n2,2\n"))
    best = layout.best(file(tmp_path, "image,best\n1,1\n2,2\n", "best.csv"))
    evidence = scored(given, best).evidence
    assert metrics.METRICS["summary"](evidence)["optimality"].tolist() == [1.0]
    with pytest.raises(DataError, match=r"nearer than the best known 1 in best\.csv"):
        scored(layout.distances(file(tmp_path, "image,a\n1,0.9\n2,2\n")), best)


@pytest.mark.parametrize(
    ("header", "norms", "note"),
    [
        (
            "image,ddn_l2,fb_fmn_Linf,bb (L0)",
            ["l2", "linf", "l0"],
            "The norms are those in which the attacks' names end",
        ),
        ("image,ddn_l2,fmn,pgd_l1", ["l2", "l2", "l2"], "Distances are taken to be in L2"),
        ("image,l1,l2,linf", ["l1", "l2", "linf"], "The norms are those"),
        ("image,small1,total2,xl2", ["l2", "l2", "l2"], "Distances are taken to be in L2"),
    ],
)
def test_norms_come_from_names_where_every_name_says_one(
    tmp_path: Path, header: str, norms: list[str], note: str
) -> None:
    table = layout.distances(file(tmp_path, f"{header}\n1,1,2,3\n"))
    assert [str(entry.norm) for entry in table.entries] == norms
    assert note in table.notes[0]
    assert layout.distances(file(tmp_path, f"{header}\n1,1,2,3\n"), Norm.L1).notes == ()


def test_results_are_overwritten_only_by_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = file(tmp_path, TABLE)
    assert command.main([str(path)]) == 0
    assert command.main([str(path)]) == 2
    assert "is there already; --force writes it again" in capsys.readouterr().err
    assert command.main([str(path), "--force"]) == 0
    assert command.main([str(tmp_path / "nowhere.csv")]) == 2
    assert capsys.readouterr().err.endswith("nowhere.csv cannot be read: No such file or directory\n")
    assert command.main([str(tmp_path)]) == 2
    assert "it is no regular file" in capsys.readouterr().err


def test_every_column_is_documented() -> None:
    page = (Path(__file__).parents[1] / "docs" / "neighbours.md").read_text().partition("| column of `scores.csv`")[2]
    named = re.findall("`([a-z0-9_]+)`", page)
    assert set(show.SCORES) | set(show.CURVES) <= set(named)


def test_a_score_needs_no_torch(tmp_path: Path) -> None:
    path = file(tmp_path, TABLE)
    code = f"import sys\nfrom bench.score import __main__ as m\nassert m.main([{str(path)!r}]) == 0\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True)


NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=6).filter(
    lambda name: name.lower() not in (*layout.KEYS, "best") and name.isprintable()
)
DISTANCES = st.floats(0.001, 1e6) | st.just(INF) | st.none()


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[str], list[list[float | None]]]:
    """Attacks, images, and a distance or nothing of each pair; every attack has one."""
    attacks = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    images = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    rows = draw(st.lists(st.tuples(*[DISTANCES] * len(attacks)), min_size=len(images), max_size=len(images)))
    values = [list(row) for row in rows]
    values[0] = [1.0 if value is None else value for value in values[0]]
    return attacks, images, values


def written(lines: Sequence[Sequence[str]], separator: str, *, quoted: bool) -> str:
    buffer = io.StringIO()
    csv.writer(
        buffer,
        delimiter=separator,
        quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL,
        lineterminator="\n",
    ).writerows(lines)
    return buffer.getvalue()


@given(tables(), st.sampled_from(",;\t|"), st.booleans(), st.booleans())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_written_is_read_back(
    tmp_path: Path,
    table: tuple[list[str], list[str], list[list[float | None]]],
    separator: str,
    quoted: bool,
    bom: bool,
) -> None:
    attacks, images, values = table
    text = ["\ufeff" if bom else ""]
    wide = [["image", *attacks]] + [
        [image, *("" if value is None else repr(value) for value in row)]
        for image, row in zip(images, values, strict=True)
    ]
    tidy = [["attack", "image", "distance"]] + [
        [attack, image, "" if value is None else repr(value)]
        for image, row in zip(images, values, strict=True)
        for attack, value in zip(attacks, row, strict=True)
    ]
    expected = {
        ("network", attack, "l1", image): value
        for image, row in zip(images, values, strict=True)
        for attack, value in zip(attacks, row, strict=True)
        if value is not None
    }
    for lines in (wide, tidy):
        assert read(tmp_path, text[0] + written(lines, separator, quoted=quoted), Norm.L1) == expected


@given(tables(), st.sampled_from(list(Norm)))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_table_is_scored_and_shown(
    tmp_path: Path, table: tuple[list[str], list[str], list[list[float | None]]], norm: Norm
) -> None:
    attacks, images, values = table
    rows = [[None if value is None else np.ceil(value) for value in row] for row in values] if norm.counts else values
    lines = [["image", *attacks]] + [
        [image, *("" if value is None else str(value) for value in row)]
        for image, row in zip(images, rows, strict=True)
    ]
    result = scored(layout.distances(file(tmp_path, written(lines, ",", quoted=False)), norm))
    frames = Frames(result.evidence)
    console = Console(file=io.StringIO(), width=400)
    for shown in show.tables(result, frames):
        console.print(shown)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert all(name in text for name in attacks)
    found = show.scores(frames)
    assert sorted(found["attack"].astype(str)) == sorted(attacks)
    for line in found.to_dict("records"):
        place = attacks.index(str(line["attack"]))
        own = [value for row in rows if (value := row[place]) is not None]
        assert line["median"] == metrics.median(own)


ODD_CELLS = st.one_of(
    st.text(max_size=6),
    st.floats().map(repr),
    st.sampled_from(["", "inf", "nan", "1,5", "1 000", "-1", '"', "image", "a", "\n", "\r", "1e-400", "+0", "-0.0"]),
)


def read_or_told(path: Path) -> str:
    """Why a file is refused; empty where it is read, to lengths."""
    try:
        entries = layout.distances(path).entries
    except BenchError as error:
        return str(error)
    assert all(entry.distance >= 0 for entry in entries)
    return ""


@given(
    st.lists(st.lists(ODD_CELLS, max_size=4), max_size=5),
    st.sampled_from([["image", "a"], ["image", "a", "b"], ["attack", "image", "distance"], []]),
    st.sampled_from(",;\t|:"),
    st.booleans(),
)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_is_read_or_refused_in_a_line(
    tmp_path: Path, lines: list[list[str]], header: list[str], separator: str, raw: bool
) -> None:
    every = [header, *lines]
    text = "\n".join(separator.join(line) for line in every) if raw else written(every, separator, quoted=False)
    told = read_or_told(file(tmp_path, text.encode("utf-8", "surrogatepass")))
    assert "\n" not in told
    assert not told or told.startswith("distances.csv")


@given(st.binary(max_size=60))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused_in_a_line(tmp_path: Path, content: bytes) -> None:
    for begin in (b"", b"image,a\n1,"):
        assert "\n" not in read_or_told(file(tmp_path, begin + content))


@given(st.text(max_size=12))
def test_a_cell_is_a_distance_or_says_why_not(text: str) -> None:
    try:
        value = cells.distance(text)
    except cells.NoDistanceError:
        return
    assert value is None or value >= 0
    if value is not None and np.isfinite(value):
        assert value == float(text)
