"""What we write every YAML parser reads back; what is stored is compared with what is wanted."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.things import DEFAULT, full, observed
from vllm_operator.desired.canonical import digest, encode, owned
from vllm_operator.desired.names import FIELD_MANAGER
from vllm_operator.desired.render import render
from vllm_operator.desired.server import desired

LIVE = Path(__file__).parents[1] / "data" / "live"
LOADERS = [yaml.CSafeLoader, yaml.SafeLoader]
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
TREES = st.recursive(
    TEXT | st.integers() | st.booleans() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(TEXT.filter(lambda key: len(key) < 100), inner, max_size=4)
    ),
    max_leaves=12,
)
HOSTILE = (
    "{{ 7 * 7 }}", "{{", "}}", "{% raw %}", "{% include 'x' %}", "{#", "a: b", "a #c", "# c", "&a", "*a",
    "<<", "-", "- a", "? a", "!!python/object:os.system x", "!x", "|", ">", "%TAG", "@", "`", "'", '"',
    '"}', "\\", "\\n", "\n---\n", "\na: b", "\r\n", "\t", "\x01\x1b\x1f", "\x7f\x80\x85\x9f",
    "\u2028\u2029", "\ufeff\ufffe\uffff", "\ud7ff\ue000", "\U0001f600\U0010ffff", "no", "null", "~", "1",
    "0x10", "1e3", "2026-01-01", "[a]", "{a: b}", "", " ", "$(A) $$",
)  # fmt: skip


def loaded(text: str, loader: Any) -> Any:
    return yaml.load(text, Loader=loader)


@pytest.mark.parametrize("loader", LOADERS)
@given(tree=TREES)
def test_every_tree_is_read_back(loader: Any, tree: Any) -> None:
    assert loaded(encode(tree), loader) == tree
    # In a template a value may stand in a block, and in braces.
    assert loaded(f"a: {encode(tree)}\nb: {{c: {encode(tree)}}}\n", loader) == {"a": tree, "b": {"c": tree}}


def code_points() -> Iterator[list[int]]:
    """All of planes 0 and 1, samples of the others, in chunks; surrogates are no characters."""
    planes = [
        range(1, 0xD800),
        range(0xE000, 0x20000),
        *(range(p << 16, (p + 1) << 16, 251) for p in range(2, 17)),
    ]
    planes += [range((p << 16) + 0xFFFE, (p + 1) << 16) for p in range(2, 17)]
    points = [point for plane in planes for point in plane]
    for start in range(0, len(points), 4096):
        yield points[start : start + 4096]


def test_every_character_is_read_back() -> None:
    for chunk in code_points():
        words = [f"a{chr(point)}b" for point in chunk] + [chr(point) for point in chunk]
        assert loaded(encode(words), yaml.CSafeLoader) == words
        text = "".join(words)
        assert loaded(encode(text), yaml.CSafeLoader) == text
    everything = "".join(chr(point) for chunk in code_points() for point in chunk)
    assert loaded(encode(everything), yaml.SafeLoader) == everything
    assert loaded(encode({everything[:20]: "\x00"}), yaml.SafeLoader) == {everything[:20]: "\x00"}


@pytest.mark.parametrize(
    "character", ["\x7f", "\x80", "\x85", "\x9f", "\u2028", "\u2029", "\ufeff", "\ufffe", "\uffff"], ids=ascii
)
def test_what_the_api_server_refuses_or_changes_is_escaped(character: str) -> None:
    """PyYAML takes some of them raw; the API server's parser does not."""
    assert encode(character) == f'"\\u{ord(character):04x}"'


@pytest.mark.parametrize("broken", [json.dumps, lambda value: json.dumps(value, ensure_ascii=False)])
def test_plain_json_would_not_do(broken: Any) -> None:
    """Why `encode` is there at all; should this ever fail, it may go."""
    wrong = 0
    for text in ("\U0001f600", "\x7f", "\x85"):
        try:
            wrong += loaded(broken(text), yaml.CSafeLoader) != text
        except yaml.YAMLError:
            wrong += 1
    assert wrong


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode(float("nan"))


def shape(value: Any) -> Any:
    """A manifest with its keys, the lengths of its lists and the types of its values."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value).__name__


def children(text: str) -> list[Any]:
    """All children of a server in whose every free text something is put."""
    spec = {
        "spec.model.name": "/data/a" + clean(text).replace("/", ""),
        "spec.model.revision": None,
        "spec.model.servedNames": ["a" + clean(text), "b"],
        "spec.extraArgs": ["--max-log-len", "w" + text],
        "spec.extraEnv.0.value": "v" + text,
        "spec.extraEnv.3.valueFrom.fieldRef.fieldPath": "p" + text,
    }
    return list(desired(observed(full(spec)), DEFAULT).manifests)


def clean(text: str) -> str:
    """A text without the characters that the fields' patterns refuse."""
    return "".join(c for c in text if c > "\x1f" and c != "\x7f")


PLAIN = [shape(child) for child in children("plain")]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_no_text_changes_the_structure_of_a_child(text: str) -> None:
    check_structure(text)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_no_text_at_all_changes_the_structure_of_a_child(text: str) -> None:
    check_structure(text)


def check_structure(text: str) -> None:
    made = children(text)
    assert [shape(child) for child in made] == PLAIN
    (deployment,) = (child for child in made if child["kind"] == "Deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["args"][-1] == "w" + text.replace("$", "$$")
    assert {"name": "A", "value": "v" + text.replace("$", "$$")} in container["env"]


@given(TEXT)
def test_no_text_changes_a_template(text: str) -> None:
    """Also where a value is composed into a template, beyond what patterns let through."""
    metadata = {"name": text, "labels": {text: text}}
    service = render("service", metadata=metadata, type="ClusterIP", selector={"a": text}, port=1)
    assert service["metadata"] == metadata
    assert service["spec"]["selector"] == {"a": text}
    assert list(service) == ["apiVersion", "kind", "metadata", "spec"]


def test_a_template_misses_nothing_silently() -> None:
    with pytest.raises(TypeError, match="StrictUndefined is not JSON"):
        render("service", metadata={}, selector={})


@pytest.mark.parametrize("file", sorted(path.name for path in LIVE.glob("*.json")))
def test_what_was_stored_has_the_digest_of_what_was_sent(file: str) -> None:
    """Answers of a kube-apiserver 1.36 to creating applies of golden cases."""
    recorded = json.loads((LIVE / file).read_text())
    live, manifest = recorded["live"], recorded["manifest"]
    assert live != manifest
    assert digest(owned(live, FIELD_MANAGER)) == digest(manifest)
    # What others add is not ours.
    live["metadata"].setdefault("annotations", {})["kubectl.kubernetes.io/restartedAt"] = "2026"
    assert digest(owned(live, FIELD_MANAGER)) == digest(manifest)
    # What others change of ours is seen.
    live["metadata"]["labels"]["app.kubernetes.io/name"] = "other"
    assert digest(owned(live, FIELD_MANAGER)) != digest(manifest)


def paths(value: Any, *above: Any) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict | list) and value:
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths(child, *above, key)
    else:
        yield above


@pytest.mark.parametrize("file", sorted(path.name for path in LIVE.glob("*.json")))
def test_a_change_of_any_field_of_ours_is_seen(file: str) -> None:
    live = owned(json.loads((LIVE / file).read_text())["live"], FIELD_MANAGER)
    before = digest(live)
    changed = 0
    for *parents, last in paths(live):
        other = copy.deepcopy(live)
        node = other
        for key in parents:
            node = node[key]
        if node[last] in ("", {}) or (last == "apiVersion" and "fieldPath" in node):
            continue  # dropped on both sides
        node[last] = not node[last] if isinstance(node[last], bool) else "other"
        assert digest(other) != before, (*parents, last)
        changed += 1
    assert changed > 5


def test_nothing_is_owned_without_an_apply_of_ours() -> None:
    fields: dict[str, Any] = {"f:data": {"f:a": {}}}
    for manager, operation, sub in (
        ("other", "Apply", None),
        (FIELD_MANAGER, "Update", None),
        (FIELD_MANAGER, "Apply", "status"),
    ):
        entry = {"manager": manager, "operation": operation, "fieldsV1": fields}
        entry |= {"subresource": sub} if sub else {}
        assert owned({"metadata": {"managedFields": [entry]}, "data": {"a": 1}}, FIELD_MANAGER) == {}
    assert owned({}, FIELD_MANAGER) == {}
    assert owned({"metadata": {}}, FIELD_MANAGER) == {}


def test_projection_of_lists() -> None:
    live = {
        "keyed": [{"name": "a", "v": 1, "x": 2}, {"name": "b", "v": 3}, {"name": "c"}],
        "set": ["p", "q"],
        "whole": [1, 2],
        "gone": None,
    }
    fields = {
        "f:keyed": {
            'k:{"name":"b"}': {"f:name": {}, "f:v": {}},
            'k:{"name":"a"}': {".": {}, "f:name": {}, "f:v": {}},
        },
        "f:set": {'v:"q"': {}},
        "f:whole": {},
        "f:absent": {},
    }
    entry = {"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": fields}
    found = owned(live | {"metadata": {"managedFields": [entry]}}, FIELD_MANAGER)
    assert found == {"keyed": [{"name": "b", "v": 3}, {"name": "a", "v": 1}], "set": ["q"], "whole": [1, 2]}


def of(**fields: Any) -> bytes:
    return digest({"kind": "K", "metadata": {"name": "n"}, **fields})


def test_the_order_of_keyed_lists_does_not_matter() -> None:
    one, two = {"name": "a", "value": "1"}, {"name": "b", "value": "2"}
    assert of(env=[one, two]) == of(env=[two, one])
    assert of(args=["a", "b"]) != of(args=["b", "a"])
    assert of(env=[one]) != of(env=[one, one])


def test_empty_texts_and_nulls_are_dropped() -> None:
    assert of(a=None) == of() == of(a="")
    assert of(a={"b": ""}) == of(a={})
    assert of(a={}) != of()
    assert of(a=[]) != of()
    assert of(a=[""]) != of(a=[])
    assert of(a=0) != of() != of(a=False)


def test_what_identifies_an_object_is_no_content() -> None:
    assert digest(
        {"kind": "A", "apiVersion": "b", "metadata": {"name": "c", "namespace": "d", "uid": "e"}, "x": 1}
    ) == digest({"x": 1, "metadata": {}})
    assert digest({"metadata": {"labels": {"a": "b"}}}) != digest({"metadata": {}})


def test_types_are_told_apart() -> None:
    assert len({of(a=1), of(a="1"), of(a=True), of(a="true"), of(a=1.5), of(a=[1]), of(a={"1": 1})}) == 7


def test_the_version_that_the_api_server_fills_in_is_no_difference() -> None:
    assert of(f={"fieldPath": "a", "apiVersion": "v1"}) == of(f={"fieldPath": "a"})
    assert of(f={"kind": "a", "apiVersion": "v1"}) != of(f={"kind": "a"})


@given(TREES, TREES)
def test_digests_differ_where_normal_forms_do(one: Any, other: Any) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    if same:
        assert of(a=one) == of(a=other)
    elif isinstance(one, str) and isinstance(other, str):
        assert of(a=one) != of(a=other)
