"""Rules of the house that a program can check."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from vllm_operator.api.kinds import PLURALS
from vllm_operator.api.reasons import Reason
from vllm_operator.api.schema import crds
from vllm_operator.generate import dump
from vllm_operator.generate.files import generated
from vllm_operator.rbac import lease_rules, policy_rules

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "operator").rglob("*.py"))
ALL = [file for file in (ROOT / "operator").rglob("*") if file.is_file() and "__pycache__" not in file.parts]
CRDS = {crd["metadata"]["name"]: crd for crd in crds()}
Json = dict[str, Any]


def where(file: Path) -> str:
    return str(file.relative_to(ROOT))


def test_there_are_sources() -> None:
    assert len(SOURCES) > 30


@pytest.mark.parametrize("file", SOURCES, ids=where)
def test_files_and_functions_are_short(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) < 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno + 1 < 40, node.name


@pytest.mark.parametrize("file", ALL, ids=where)
def test_the_operator_knows_nothing_of_the_test_world(file: Path) -> None:
    text = file.read_text(errors="replace")
    assert not re.search(r"\b(kwok|fake)", text, re.IGNORECASE)
    assert "tests" not in re.findall(r"^\s*(?:from|import) (\w+)", text, re.M)


def test_the_source_root_is_no_package() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_every_reason_is_given_somewhere() -> None:
    given = set()
    for file in SOURCES:
        if file.name != "reasons.py":
            given |= set(re.findall(r"\bReason\.([A-Z_]+)\b", file.read_text()))
    assert given == {reason.name for reason in Reason}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_one_word_and_one_sentence(reason: Reason) -> None:
    assert re.fullmatch(r"([A-Z][a-z]+)+", reason.value)
    assert reason.value == "".join(word.capitalize() for word in reason.name.split("_"))
    assert reason.doc.endswith(".")
    assert reason.doc.count(". ") == 0


SECRETS_AND_POWER = {
    "secrets",
    "pods/exec",
    "pods/attach",
    "pods/portforward",
    "nodes",
    "serviceaccounts/token",
}


def test_rules_of_rbac() -> None:
    rules = policy_rules()
    assert rules
    for rule in rules:
        words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        assert not {word for word in words if "*" in word}
        assert not SECRETS_AND_POWER & set(rule["resources"])
        assert not {"rbac.authorization.k8s.io", "admissionregistration.k8s.io"} & set(rule["apiGroups"])
        assert not {"escalate", "bind", "impersonate", "update", "deletecollection"} & set(rule["verbs"])
        assert rule["verbs"] == sorted(set(rule["verbs"]))
    pairs = [
        (group, resource) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"]
    ]
    assert len(pairs) == len(set(pairs))


def test_rules_of_the_lease_are_for_one_lease() -> None:
    named = [rule for rule in lease_rules() if "resourceNames" in rule]
    assert [rule["resourceNames"] for rule in named] == [["vllm-operator"]]
    assert [rule["verbs"] for rule in lease_rules() if rule not in named] == [["create"]]
    assert {*named[0]["verbs"]} == {"get", "update", "watch"}


def test_users_objects_are_never_written() -> None:
    """Only their status: no spec, labels or annotations, no finalizers."""
    own = {
        rule["resources"][0]: rule["verbs"]
        for rule in policy_rules()
        if rule["apiGroups"] == ["vllm-operator.dev"]
    }
    for plural in PLURALS.values():
        assert own.pop(plural) == ["list", "watch"]
        assert own.pop(f"{plural}/status") == ["patch"]
    assert own == {}


@pytest.mark.parametrize("name", generated())
def test_generated_files_are_as_generated(name: str) -> None:
    assert (ROOT / name).read_text() == generated()[name], "run `make generate`"


def test_generated_folders_hold_nothing_else() -> None:
    for folder in ("crds", "docs/reference", "charts/vllm-operator/crds"):
        assert {f"{folder}/{file.name}" for file in (ROOT / folder).iterdir()} <= set(generated())


@pytest.mark.parametrize("name", CRDS)
def test_crds_are_small(name: str) -> None:
    assert len(dump([CRDS[name]]).encode()) < 100_000


def nodes(schema: Json, path: str) -> Iterator[tuple[str, Json]]:
    yield path, schema
    for key, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{key}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[]")


def schemas(part: str) -> list[tuple[str, Json]]:
    found = []
    for crd in CRDS.values():
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        found += list(nodes(schema["properties"][part], part))
    return found


EMBEDDED = (
    *("spec.affinity", "spec.tolerations", "spec.topologySpreadConstraints"),
    "spec.networkPolicy.from",
)
"""Fields with the structure of Kubernetes' own types, which has no prose here."""


def test_everything_in_a_spec_is_bounded() -> None:
    """The limit on the cost of CEL asks for it."""
    for path, schema in schemas("spec"):
        kind = schema.get("type")
        if kind == "array":
            assert "maxItems" in schema, path
        elif kind == "string":
            assert {"maxLength", "enum", "format"} & set(schema), path
        elif kind in ("integer", "number"):
            assert {"minimum", "maximum"} <= set(schema), path
        elif kind == "object":
            assert "properties" in schema or "maxProperties" in schema, path
        else:
            assert kind == "boolean" or "x-kubernetes-int-or-string" in schema, path
            assert kind == "boolean" or "maxLength" in schema, path


def test_every_list_says_how_it_is_merged() -> None:
    for path, schema in [*schemas("spec"), *schemas("status")]:
        if schema.get("type") == "array" and schema["items"].get("type") == "object":
            # Constraints are merged as those of a pod are.
            whole = path.startswith(EMBEDDED) and path != "spec.topologySpreadConstraints"
            merged = "atomic" if whole else "map"
            assert schema.get("x-kubernetes-list-type") == merged, path
        for key in schema.get("x-kubernetes-list-map-keys", ()):
            assert key in schema["items"]["required"], path


def test_every_field_is_described() -> None:
    for path, schema in [*schemas("spec"), *schemas("status")]:
        if not path.endswith("[]") and not re.match(rf"({'|'.join(EMBEDDED)})(\[\])?\.", path):
            assert len(schema.get("description", "")) > 10, path


def test_schemas_are_structural() -> None:
    for path, schema in [*schemas("spec"), *schemas("status")]:
        assert not {"title", "$ref", "oneOf", "allOf", "nullable"} & set(schema), path
        assert "null" not in str(schema.get("type")), path


def test_a_status_that_nobody_wrote_says_so() -> None:
    for crd in CRDS.values():
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        assert schema["properties"]["status"]["default"] == {"observedGeneration": -1}


@pytest.mark.parametrize("file", sorted((ROOT / "manifests").rglob("*.yaml")), ids=where)
def test_manifests_are_yaml(file: Path) -> None:
    assert [document for document in yaml.safe_load_all(file.read_text()) if document]
