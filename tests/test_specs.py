"""Specs are pure data: hashable, picklable, and complete as JSON."""

from __future__ import annotations

import json
import pickle
from dataclasses import fields, replace

import pytest

import suites
from bench.specs import AttackSpec, Row, Variant, to_json

SPECS = (
    *suites.load("smoke").rows,
    *suites.rows(family="C&W"),
    *suites.rows(library="certify"),
)
every_spec = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)


@every_spec
def test_a_spec_is_its_own_key(spec: Row) -> None:
    again = pickle.loads(pickle.dumps(spec))
    assert again == spec
    assert hash(again) == hash(spec)
    assert {spec: 1}[again] == 1


@every_spec
def test_json_has_every_field_and_what_follows_from_them(spec: Row) -> None:
    content = json.loads(json.dumps(to_json(spec)))
    assert {item.name for item in fields(spec)} <= set(content)
    assert (content["name"], content["label"]) == (spec.name, spec.label)
    assert (content["kind"], content["library"]) == (spec.kind.value, spec.library)


def test_a_variant_is_a_part_of_name_and_label() -> None:
    (plain,) = suites.rows(name="foolbox-ddn-l2")
    assert isinstance(plain, AttackSpec)
    longer = replace(plain, variant=Variant(slug="far-away", title="far away", idea="It starts far away."))
    assert (plain.name, plain.label) == ("foolbox-ddn-l2", "DDN L2 (Foolbox)")
    assert (longer.name, longer.label) == ("foolbox-ddn-far-away-l2", "DDN, far away L2 (Foolbox)")


def test_what_is_not_data_is_refused() -> None:
    with pytest.raises(TypeError, match="is not pure data"):
        to_json({"network": object()})
