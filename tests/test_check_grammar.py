"""How requirements are written: whatever is typed is one, which prints back to itself, or has a fault at a column."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.check.grammar import parse, parse_all
from bench.check.requirements import LEAST, LEVELS, OF_NORMS, SIGNS, Quantity, Requirement, RequirementError, Sign
from bench.errors import UsageError
from bench.findings import Level
from bench.norms import Norm

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,9}", fullmatch=True)
FRACTIONS = st.floats(0, 1)
SIZES = st.floats(0, allow_nan=False, allow_infinity=False)


@st.composite
def requirements(draw: st.DrawFn) -> Requirement:
    quantity = draw(st.sampled_from(Quantity))
    network = draw(st.just("") | NAMES)
    if quantity is Quantity.NO_WORSE:
        value = draw(st.floats(0, 100, exclude_max=True))
        return Requirement(quantity=quantity, network=network, norm=draw(st.sampled_from(Norm)), value=value)
    sign = draw(st.sampled_from(SIGNS[quantity]))
    if quantity is Quantity.VERDICT:
        return Requirement(quantity=quantity, network=network, sign=sign, level=draw(st.sampled_from(LEVELS)))
    return Requirement(
        quantity=quantity,
        network=network,
        norm=draw(st.sampled_from(Norm)) if quantity in OF_NORMS else None,
        eps=draw(SIZES) if quantity in (Quantity.CERTIFIED, Quantity.ROBUST_ACCURACY) else None,
        attack=draw(NAMES) if quantity is Quantity.FOUND_RATE else "",
        sign=sign,
        value=draw(SIZES if quantity is Quantity.MEDIAN else FRACTIONS),
    )


@given(requirements())
@settings(max_examples=200)
def test_every_requirement_is_read_back_from_how_it_prints(one: Requirement) -> None:
    assert parse(str(one)) == one


WORDS = st.sampled_from(
    ["l2", "linf", "L0", ".", "median", "robust_accuracy", "certified", "[", "]", "0.1", "8/255", "1e3", "-1", "nan", "inf",
     "1e999", ">=", "<=", ">", "<", "=", "==", "!", "no-worse", "by", "5%", "5", "%", "verdict", "pass", "warn", "fail",
     "clean_accuracy", "attack", "foolbox-ddn-l2", "found_rate", "CNN", ":", " ", "\t", "\u00a0", "\u0663", "/", "and"]
)  # fmt: skip


@given(st.lists(WORDS, max_size=9).map("".join) | st.lists(WORDS, max_size=9).map(" ".join) | st.text(max_size=30))
@example("l2.median >= 1/1e-320")
@example("l2.median >= " + "9" * 5000)
@settings(max_examples=400)
def test_anything_is_a_requirement_or_has_a_fault_at_a_column(text: str) -> None:
    found = read(text)
    if isinstance(found, RequirementError):
        assert 1 <= found.column <= len(text) + 1
        assert f"column {found.column}: " in str(found)
    else:
        assert parse(str(found)) == found
        assert found.text == text


def read(text: str) -> Requirement | RequirementError:
    try:
        return parse(text)
    except RequirementError as error:
        return error


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("l2.median >= 1.0", Requirement(quantity=Quantity.MEDIAN, norm=Norm.L2, sign=Sign.AT_LEAST, value=1.0)),
        ("  CNN :L2.median<.5", Requirement(quantity=Quantity.MEDIAN, network="CNN", norm=Norm.L2, sign=Sign.BELOW, value=0.5)),
        (
            "linf.robust_accuracy[8/255] >= 50%",
            Requirement(quantity=Quantity.ROBUST_ACCURACY, norm=Norm.LINF, eps=8 / 255, sign=Sign.AT_LEAST, value=0.5),
        ),
        (
            "linf.certified[ 0.1 ] > .5",
            Requirement(quantity=Quantity.CERTIFIED, norm=Norm.LINF, eps=0.1, sign=Sign.ABOVE, value=0.5),
        ),
        ("l1 no-worse", Requirement(quantity=Quantity.NO_WORSE, norm=Norm.L1, value=LEAST)),
        ("l1 no-worse by 2.5 %".replace(" %", "%"), Requirement(quantity=Quantity.NO_WORSE, norm=Norm.L1, value=2.5)),
        ("verdict = pass", Requirement(quantity=Quantity.VERDICT, sign=Sign.EQUAL, level=Level.PASS)),
        ("verdict >= warn", Requirement(quantity=Quantity.VERDICT, sign=Sign.AT_LEAST, level=Level.WARN)),
        ("clean_accuracy >= .98", Requirement(quantity=Quantity.CLEAN_ACCURACY, sign=Sign.AT_LEAST, value=0.98)),
        (
            "attack.foolbox-ddn-l2.found_rate == 1",
            Requirement(quantity=Quantity.FOUND_RATE, attack="foolbox-ddn-l2", sign=Sign.EQUAL, value=1.0),
        ),
    ],
)  # fmt: skip
def test_what_is_written_is_what_is_meant(text: str, meant: Requirement) -> None:
    assert parse(text) == meant


MALFORMED = [
    ("", 1, "nothing is required; write it as in 'l2.median >= 1.0'"),
    ("l3.median >= 1", 1, "unknown quantity 'l3'; known: l0, l1, l2, linf"),
    ("verdct = pass", 1, "did you mean verdict?"),
    ("l2.medain >= 1", 4, "known: median, robust_accuracy, certified; did you mean median?"),
    ("l2", 3, "after l2 comes '.median'"),
    ("l2 median >= 1", 4, "write 'l2.median', with a dot"),
    ("l2.no-worse", 4, "write 'l2 no-worse', with a blank"),
    ("l2 no-wrose", 4, "did you mean no-worse?"),
    ("l2 no-worse than 5%", 13, "as in 'by 5%'"),
    ("l2 no-worse by x%", 16, "'x' is no number; give a percentage"),
    ("l2 no-worse by 5", 17, "a '%' is missing"),
    ("l2 no-worse by 100%", 16, "from 0% to below 100%"),
    ("l2 no-worse by -1%", 16, "from 0% to below 100%"),
    ("l2.median 1", 11, "a sign is missing; allowed: >=, >, <=, <"),
    ("l2.median = 1", 11, "'=' is not possible for median, because it is estimated from images; allowed: >=, >, <=, <"),
    ("l2.median => 1", 11, "'=>' is not possible"),
    ("l2.median >=", 13, "a number is missing; give a finite distance"),
    ("l2.median >= nan", 14, "'nan' is no number; give a finite distance"),
    ("l2.median >= inf", 14, "'inf' is no number"),
    ("l2.median >= 1e999", 14, "too large"),
    ("l2.median >= -1", 14, "a distance is 0 or more"),
    ("l2.median >= 1x", 14, "'1x' is no number"),
    ("l2.median >= 1 and more", 16, "'and more' stands after the end"),
    ("l2.robust_accuracy >= 0.5", 20, "as in 'robust_accuracy[0.1]'"),
    ("l2.robust_accuracy[] >= 0.5", 20, "a number is missing; give the size of a change"),
    ("l2.robust_accuracy[nan] >= 0.5", 20, "'nan' is no number"),
    ("l2.robust_accuracy[-0.1] >= 0.5", 20, "0 or more"),
    ("l2.robust_accuracy[1/0] >= 0.5", 23, "other than 0"),
    ("l2.robust_accuracy[0.1 >= 0.5", 24, "a ']' is missing"),
    ("l2.robust_accuracy[0.1] >= 98", 28, "98 is no fraction; give a number from 0 to 1; did you mean 0.98?"),
    ("l2.certified[0.1] >= -0.5", 22, "-0.5 is no fraction"),
    ("clean_accuracy >= nan", 19, "'nan' is no number; give a fraction from 0 to 1"),
    ("verdict = good", 11, "known: pass, warn"),
    ("verdict = fail", 11, "known: pass, warn"),
    ("verdict < pass", 9, "allowed: =, >="),
    ("verdict =", 10, "a verdict is missing; known: pass, warn"),
    ("attack.found_rate = 1", 7, "write attack.NAME.found_rate"),
    ("attack = 1", 7, "write attack.NAME.found_rate"),
    ("attack.foolbox-ddn-l2.foundrate = 1", 23, "did you mean found_rate?"),
    (": l2.median >= 1", 1, "the name of one network"),
    ("a: b: l2.median >= 1", 1, "the name of one network"),
]


@pytest.mark.parametrize(("text", "column", "part"), MALFORMED)
def test_a_fault_is_named_with_its_column_and_what_is_allowed(text: str, column: int, part: str) -> None:
    with pytest.raises(RequirementError, match=re.escape(part)) as caught:
        parse(text)
    assert caught.value.column == column
    assert str(caught.value).startswith(f"requirement {text!r}, column {column}: ")
    assert "\n" not in str(caught.value)


def test_what_is_asked_twice_is_refused_however_it_is_written() -> None:
    with pytest.raises(UsageError, match="requirements 1 and 3 ask the same, 'l2 no-worse by 5%'; delete one"):
        parse_all(["l2 no-worse", "l2 no-worse by 4%", "L2 no-worse by 5.0%"])
    assert len(parse_all(["l2.median >= 1", "l2.median >= 2", "CNN: l2.median >= 1"])) == 3


def test_nothing_required_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing is required; give a requirement"):
        parse_all([])


def test_a_fault_in_a_list_says_which_of_it() -> None:
    with pytest.raises(UsageError, match=re.escape("x.toml, require[2]: requirement 'l2', column 3: ")):
        parse_all(["l2.median >= 1", "l2"], "x.toml, require")
