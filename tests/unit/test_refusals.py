"""The models judge every case of the table, and the table leaves no constraint and no rule out."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cases import recorded
from tests.cases.refusals import REFUSALS
from tests.cases.schemas import SCHEMAS, SPECS, Schema
from tests.cases.table import QUANTIZATION, SERVER, VARIANTS, Case, changed, example_key, schema_path
from vllm_operator.api import fp8quantization
from vllm_operator.api.kinds import CLASSES
from vllm_operator.api.meta import VALIDATIONS, InvalidObjectError, path

KEYWORDS = (
    "enum",
    "exclusiveMinimum",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "type",
    "x-kubernetes-list-type",
)


def verdict(case: Case) -> tuple[str, ...]:
    try:
        CLASSES[case.kind].parse(changed(case.change, case.kind), strict=True)
    except InvalidObjectError as error:
        return error.problems
    return ()


@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS.keys())
def test_models_judge(case: Case) -> None:
    problems = verdict(case)
    if case.accepted or case.old is not None:  # an update may be refused for what was there before
        assert problems == ()
        return
    assert [problem for problem in problems if problem.startswith(f"{case.path}: ")], problems
    assert any(case.says in problem for problem in problems)


REFUSED = {name: case for name, case in REFUSALS.items() if not case.accepted}
RECORDED = recorded.read()


def test_what_the_api_server_says_is_recorded_for_every_refused_case() -> None:
    """tests/cluster/test_refusals.py asks it, and compares every word."""
    assert RECORDED.keys() == REFUSED.keys()


@pytest.mark.parametrize(
    "case", [case for case in REFUSED.values() if case.rule and case.old is None], ids=lambda case: case.name
)
def test_models_and_api_server_give_the_same_reason(case: Case) -> None:
    said = [problem.split(": ", 1)[1] for problem in verdict(case) if f": {case.rule}" in problem]
    # Without a name the API server asks for our rules no more.
    nameless = case.root and "name or generateName is required" in RECORDED[case.name]
    assert nameless or [words for words in said if words in RECORDED[case.name]]


def nodes(kind: str, schema: Schema, path: str = "spec") -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(kind, child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(kind, schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(kind, schema["additionalProperties"], f"{path}.{example_key(path, kind)}")


def constraints(kind: str) -> Iterator[tuple[str, str]]:
    for where, schema in nodes(kind, SPECS[kind]):
        # That an object is one is asked for all of them alike.
        keywords = ("maxProperties",) if schema.get("type") == "object" else KEYWORDS
        # An atomic list refuses nothing.
        yield from ((where, k) for k in keywords if schema.get(k, "atomic") != "atomic")
        yield from ((f"{where}.{name}", "required") for name in schema.get("required", ()))


each_kind = pytest.mark.parametrize("kind", SPECS)


def cases(kind: str) -> list[Case]:
    return [case for case in REFUSALS.values() if case.kind == kind]


@each_kind
def test_every_constraint_of_the_schema_has_a_case_that_it_refuses(kind: str) -> None:
    covered = {pair for case in cases(kind) if not case.accepted for pair in case.covers}
    assert set(constraints(kind)) - covered == set()


def rules(kind: str) -> list[str]:
    places = [SCHEMAS[kind], *(schema for _, schema in nodes(kind, SPECS[kind]))]
    return sorted({rule["message"] for schema in places for rule in schema.get(VALIDATIONS, ())})


@pytest.mark.parametrize(("kind", "message"), [(kind, message) for kind in SPECS for message in rules(kind)])
@pytest.mark.parametrize("accepted", [True, False])
def test_every_rule_accepts_a_case_and_refuses_another(kind: str, message: str, accepted: bool) -> None:
    about = [case for case in cases(kind) if case.rule and message.startswith(case.rule)]
    assert [case for case in about if case.accepted is accepted]


@each_kind
def test_no_case_speaks_of_a_rule_that_there_is_not(kind: str) -> None:
    messages = rules(kind)
    for case in cases(kind):
        speaking = [message for message in messages if case.rule and message.startswith(case.rule)]
        assert len(speaking) == bool(case.rule), case


def leaves(value: Any, *above: str | int) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, dict | list) and value:
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(child, *above, key)
    else:
        yield above, value


@each_kind
def test_the_full_objects_have_every_field(kind: str) -> None:
    """A new field must be put there, and so comes to the tests that change every field."""
    fulls = [changed(variant, kind) for variant in VARIANTS[kind]]
    have = {schema_path(path(*parts)) for full in fulls for parts, _ in leaves(full)}
    want = {
        where
        for where, schema in nodes(kind, SPECS[kind])
        if "properties" not in schema and "items" not in schema and "additionalProperties" not in schema
    }
    excluded = {"spec.cache.claimName"} if kind == SERVER else set()  # by spec.cache.size
    assert want - have == excluded


def test_every_field_of_a_quantization_is_fixed_or_may_change() -> None:
    told = (*fp8quantization._FIXED, *fp8quantization._CHANGEABLE)
    assert sorted(told) == sorted(SPECS[QUANTIZATION]["properties"])


def test_another_order_of_sets_and_maps_is_read_as_the_same() -> None:
    """An update may turn them round, and what they decide must stay."""
    turned = [case for case in cases(QUANTIZATION) if case.name.endswith(" turned")]
    assert len(turned) == 3
    for case in turned:
        assert case.old is not None
        one, other = (
            CLASSES[case.kind].parse(changed(change, case.kind)).spec for change in (case.old, case.change)
        )
        assert one == other
