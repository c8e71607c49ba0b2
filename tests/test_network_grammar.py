"""What may be typed for a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.networks import grammar, specs

LITERALS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)  # fmt: skip
IDENTIFIERS = st.from_regex(r"[a-z]{1,4}_[a-z0-9]{0,4}", fullmatch=True)
ODD = st.text(st.sampled_from("ab @(=).:/'\",#[]é"), max_size=12)


@given(
    named=st.booleans(),
    place=st.sampled_from(["net.py:make", "some.module:make", "torchvision:resnet18", "timm:vit_tiny.in1k", "/a=b/net.py:make"]),
    placed=st.lists(LITERALS, max_size=2),
    keywords=st.dictionaries(IDENTIFIERS, LITERALS, max_size=2),
    weights=st.none() | ODD.map(lambda text: f"w{text}"),
)  # fmt: skip
def test_a_text_is_what_it_was_made_of(
    named: bool, place: str, placed: list[Any], keywords: dict[str, Any], weights: str | None
) -> None:
    arguments = ", ".join([*map(repr, placed), *(f"{name}={value!r}" for name, value in keywords.items())])
    text = f"{'mine=' if named else ''}{place}({arguments}){'' if weights is None else f'@{weights}'}"
    (spec,) = specs([text])
    assert grammar.values(spec.arguments) == (placed, keywords)
    assert spec.source is not None
    assert spec.source.endswith(place)
    assert spec.weights == (None if weights is None else str(Path(weights).resolve()))
    assert spec.name == ("mine" if named else place.rpartition(":")[2])
    assert specs([spec.text]) == (spec,)


@given(
    text=st.builds("{}{}{}{}".format, st.sampled_from(["", "x=", "MLP", "onnx:", "torchvision:", "live:"]), ODD, st.sampled_from(["", "n.py", ".onnx", ":f", "n.py:f", "(1)", "(a=1)", "@w"]), ODD)
)  # fmt: skip
def test_any_text_reads_back_as_it_was_read_or_is_a_line(text: str) -> None:
    try:
        found = specs([text])
    except UsageError as error:
        assert str(error)  # noqa: PT017 - the other outcome is allowed as well
    else:
        assert specs(spec.text for spec in found) == found


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("f.py:make(width=x)", "width is no Python literal; nothing is computed"),
        ("f.py:make(open('x'))", "an argument is no Python literal"),
        ("f.py:make(1 + 1)", "an argument is no Python literal"),
        ("f.py:make(a=1, a=2)", "argument a is given twice"),
        ("f.py:make(*[1])", "each argument by itself, without stars"),
        ("f.py:make(**{'a': 1})", "each argument by itself, without stars"),
        ("f.py:make(", r"'\(' are no arguments; write them as in Python, such as \(width=32"),
        ("f.py:make(1)(2)", "are no arguments"),
        ("f.py:make(1)x", "are no arguments"),
        (f"f.py:make({'(' * 3000}1{')' * 3000})", "are no arguments|is no Python literal"),
        ("f.py:make@", "names no file of weights behind '@'"),
        ("f.py(width=1)", "has no factory; give .* after a colon: f.py:make"),
        ("MLP(1)", "a network of the zoo has its own weights and takes no arguments; give MLP alone"),
        ("MLP@w.safetensors", "a network of the zoo has its own weights"),
        ("torchvision:", "names no model; give torchvision:resnet18"),
        ("timm:a/b", "names no model; give timm:resnet18"),
        ("onnx:f.pt", "an ONNX file's name ends with .onnx"),
        ("onnx:f.onnx@w.safetensors", "without arguments and weights, which are in the file"),
        ("onnx:2 nets.onnx", "'2 nets' cannot name a network; give name=onnx:2 nets.onnx"),
        ("ResNet18", "known: MLP, .*path/to/file.py:factory, module:factory, torchvision:NAME, timm:NAME, onnx:file.onnx"),
    ],
)  # fmt: skip
def test_what_is_mistyped_is_a_line(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as raised:
        specs([text])
    assert "\n" not in str(raised.value)


def test_a_folder_that_can_be_read_in_two_ways_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a.py:b@c"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(UsageError, match="can be read in two ways; use folders without"):
        specs(["net.py:make"])


def test_one_factory_is_several_networks_with_weights_of_their_own() -> None:
    found = specs(["a=f.py:make(2)@a.pt", "b=f.py:make(2)@b.pt", "MLP"])
    assert [Path(str(spec.weights)).name for spec in found[:2]] == ["a.pt", "b.pt"]
    with pytest.raises(UsageError, match=r"--weights w.pt needs exactly one .*file.py:factory@weights"):
        specs(["a=f.py:make", "b=f.py:make"], "w.pt")
    with pytest.raises(UsageError, match=r"network make takes its weights from .*a.pt; leave out --weights w.pt"):
        specs(["f.py:make@a.pt"], "w.pt")
    with pytest.raises(UsageError, match="network f has its weights in its ONNX file; leave out --weights"):
        specs(["onnx:f.onnx"], "w.pt")
    assert specs(["f.py:make"], "w.pt") == specs(["f.py:make@w.pt"])
