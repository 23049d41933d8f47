"""The models judge every case of the table, and the table leaves no constraint and no rule out."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cases import recorded
from tests.cases.refusals import REFUSALS
from tests.cases.table import FULL, ON_GAUDI, Case, changed, example_key, schema_path
from vllm_operator.api.meta import VALIDATIONS, InvalidObjectError, path
from vllm_operator.api.schema import crds
from vllm_operator.api.vllmserver import VLLMServer

SCHEMA = crds()[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
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
        VLLMServer.parse(changed(case.change), strict=True)
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


def nodes(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}.{example_key(path)}")


def constraints() -> Iterator[tuple[str, str]]:
    for where, schema in nodes(SCHEMA["properties"]["spec"], "spec"):
        # That an object is one is asked for all of them alike.
        keywords = ("maxProperties",) if schema.get("type") == "object" else KEYWORDS
        # An atomic list refuses nothing.
        yield from ((where, k) for k in keywords if schema.get(k, "atomic") != "atomic")
        yield from ((f"{where}.{name}", "required") for name in schema.get("required", ()))


def test_every_constraint_of_the_schema_has_a_case_that_it_refuses() -> None:
    covered = {pair for case in REFUSALS.values() if not case.accepted for pair in case.covers}
    assert set(constraints()) - covered == set()


def rules() -> list[str]:
    spec = nodes(SCHEMA["properties"]["spec"], "spec")
    places = [SCHEMA, *(schema for _, schema in spec)]
    return sorted({rule["message"] for schema in places for rule in schema.get(VALIDATIONS, ())})


@pytest.mark.parametrize("message", rules())
@pytest.mark.parametrize("accepted", [True, False])
def test_every_rule_accepts_a_case_and_refuses_another(message: str, accepted: bool) -> None:
    about = [case for case in REFUSALS.values() if case.rule and message.startswith(case.rule)]
    assert [case for case in about if case.accepted is accepted]


def test_no_case_speaks_of_a_rule_that_there_is_not() -> None:
    for case in REFUSALS.values():
        speaking = [message for message in rules() if case.rule and message.startswith(case.rule)]
        assert len(speaking) == bool(case.rule), case


def leaves(value: Any, *above: str | int) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, dict | list) and value:
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(child, *above, key)
    else:
        yield above, value


def test_the_full_objects_have_every_field() -> None:
    """A new field must be put there, and so comes to the tests that change every field."""
    have = {schema_path(path(*parts)) for full in (FULL, changed(ON_GAUDI)) for parts, _ in leaves(full)}
    want = {
        where
        for where, schema in nodes(SCHEMA["properties"]["spec"], "spec")
        if "properties" not in schema and "items" not in schema and "additionalProperties" not in schema
    }
    assert want - have - {"spec.cache.claimName"} == set()  # excluded by spec.cache.size
