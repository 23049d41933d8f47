"""One way to write values, and one way to tell whether what is stored is what we want.

Encoding: an apply body is parsed as YAML even when it is JSON, and neither of json.dumps' two ways
survives that: surrogate pairs are refused, and so are raw control characters. `encode` writes JSON
that every YAML parser reads back unchanged; templates and apply bodies both use it.

Comparing: of a live object, `owned` keeps the fields that our field manager has applied, as the
object's own managedFields tell. Its digest is compared with the digest of the manifest wanted.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def encode(value: Any) -> str:
    """Write a value as JSON that YAML parsers (PyYAML's and the API server's) read back unchanged."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return _NOT_IN_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


IMMUTABLE = frozenset({"ControllerRevision", "Job"})
"""Kinds whose objects are never changed by us: they are known by their names alone."""


_CONTENT = 16
"""Bytes of a digest that do not depend on labels."""


def digest(manifest: Mapping[str, Any]) -> bytes:
    """Digest of what a manifest, or the projection of a live object, says of the fields that it has."""
    body = _body(manifest)
    labels = body["metadata"].pop("labels", {})
    return _hash(body)[:_CONTENT] + _hash(labels)[:_CONTENT]


def same_but_for_labels(one: bytes, other: bytes) -> bool:
    """Whether two digests are of objects that differ in nothing but labels."""
    return one[:_CONTENT] == other[:_CONTENT]


def _hash(value: Any) -> bytes:
    return hashlib.sha256(_text(value).encode()).digest()


def owned(live: Mapping[str, Any], manager: str, subresource: str = "") -> dict[str, Any]:
    """The part of a live object that a field manager has applied (not updated), there or to a subresource."""
    for entry in live.get("metadata", {}).get("managedFields") or ():
        who = (entry["manager"], entry["operation"], entry.get("subresource", ""))
        if who == (manager, "Apply", subresource):
            part = _project(live, entry["fieldsV1"])
            return part if isinstance(part, dict) else {}
    return {}


_IDENTITY = ("name", "namespace", "uid")


def _body(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest without what identifies the object; managedFields never list it."""
    body = {key: value for key, value in manifest.items() if key not in ("apiVersion", "kind")}
    body["metadata"] = {k: v for k, v in manifest.get("metadata", {}).items() if k not in _IDENTITY}
    return body


def _text(value: Any) -> str:
    """Write a value without what the API server changes on storing: empty values, the order of keyed lists.

    In one go, so that the items of lists need not be written once more to be sorted. `repr` tells apart all
    that JSON does.
    """
    if isinstance(value, dict):
        # A fieldRef comes back with the version of the pod's API filled in.
        left_out = "apiVersion" if "fieldPath" in value else None
        kept = ((key, value[key]) for key in sorted(value) if key != left_out)
        return "{" + ",".join(f"{key!r}:{_text(v)}" for key, v in kept if v is not None and v != "") + "}"
    if isinstance(value, list):
        items = [_text(item) for item in value]
        if all(isinstance(item, dict) for item in value):
            items.sort()
        return "[" + ",".join(items) + "]"
    return repr(value)


def _project(value: Any, fields: Mapping[str, Any]) -> Any:
    """Keep of a value what a `fieldsV1` tree names; an empty tree keeps all."""
    if not fields.keys() - {"."}:
        return value
    if isinstance(value, dict):
        return {
            # Most fields are leaves: a call for each would be half of the time.
            key[2:]: _project(value[key[2:]], sub) if sub else value[key[2:]]
            for key, sub in fields.items()
            if key.startswith("f:") and key[2:] in value
        }
    if isinstance(value, list):
        return [item for key, sub in fields.items() if key != "." for item in _items(value, key, sub)]
    return value


def _items(items: list[Any], key: str, fields: Mapping[str, Any]) -> list[Any]:
    """The items of a list that one key of a `fieldsV1` tree names (`k:` by their keys, `v:` by value)."""
    name = _key(key[2:])
    if key.startswith("v:"):
        return [item for item in items if item == name]
    return [
        _project(item, fields) for item in items if isinstance(item, dict) and name.items() <= item.items()
    ]


_key = lru_cache(256)(json.loads)
"""The keys of lists are the same few in most objects of a kind."""
