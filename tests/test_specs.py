"""Specs are pure data: hashable, picklable, and complete as JSON."""

from __future__ import annotations

import json
import pickle
from dataclasses import fields

import fakes
import pytest

from bench.norms import Norm
from bench.specs import AttackSpec, Kind, VerifierSpec, to_json

SPECS = (
    fakes.row("noise", cap=3),
    VerifierSpec(slug="exact", title="exact", norm=Norm.L2, kind=Kind.EXACT, seconds=5),
)


@pytest.mark.parametrize("spec", SPECS)
def test_a_spec_is_its_own_key(spec: AttackSpec | VerifierSpec) -> None:
    again = pickle.loads(pickle.dumps(spec))
    assert again == spec
    assert hash(again) == hash(spec)
    assert {spec: 1}[again] == 1


@pytest.mark.parametrize("spec", SPECS)
def test_json_has_every_field_and_what_follows_from_them(spec: AttackSpec | VerifierSpec) -> None:
    content = json.loads(json.dumps(to_json(spec)))
    assert {item.name for item in fields(spec)} <= set(content)
    assert (content["name"], content["label"]) == (spec.name, spec.label)
    assert (content["kind"], content["library"]) == (spec.kind.value, spec.library)


def test_what_is_not_data_is_refused() -> None:
    with pytest.raises(TypeError, match="is not pure data"):
        to_json({"network": object()})
