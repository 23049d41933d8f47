"""What our resources have in common beside their specs: names, and how an object is read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar

from pydantic import ValidationError

from vllm_operator.api.meta import API_VERSION, InvalidObjectError, Model, Rule, path, problems

NAME_PATTERN = r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$"
MICROSERVICE_SUFFIX = "-llm"
RESERVED_SUFFIXES = ("-fp8q", MICROSERVICE_SUFFIX, "-prefetch")
"""Endings that children's names take; a resource whose name has one could meet another's child."""

NAME_RULES = (
    Rule(
        f"self.metadata.name.matches('{NAME_PATTERN}')",
        "metadata.name must be at most 40 of a-z, 0-9 and -, begin with a letter and not end with -",
        lambda name: re.fullmatch(NAME_PATTERN, name, re.ASCII) is not None,
    ),
    Rule(
        " && ".join(f"!self.metadata.name.endsWith('{suffix}')" for suffix in RESERVED_SUFFIXES),
        f"metadata.name may not end with {' or '.join(RESERVED_SUFFIXES)}: such names are taken by children",
        lambda name: not name.endswith(RESERVED_SUFFIXES),
    ),
)
"""Rules on the name of a resource; at the root of a CRD only the name can be seen of the metadata."""

S = TypeVar("S", bound=Model)


@dataclass(frozen=True, slots=True)
class Resource(Generic[S]):
    """A resource of ours as the operator sees it."""

    kind: ClassVar[str]
    spec_model: ClassVar[type[Model]]

    name: str
    namespace: str
    uid: str
    generation: int
    spec: S

    @classmethod
    def parse(cls, body: Mapping[str, Any], *, strict: bool = False) -> Self:
        """Read an object.

        With `strict`, unknown fields are errors too. Raises InvalidObjectError with every problem that
        was found, each with the path of its field.
        """
        metadata = body.get("metadata") or {}
        if not isinstance(metadata, Mapping):
            raise InvalidObjectError(("metadata: must be an object with a name",))
        name = str(metadata.get("name") or "")
        found = [
            f"metadata.name: {rule.message}" for rule in NAME_RULES if rule.holds and not rule.holds(name)
        ]
        if strict:
            found += _strangers(body, cls.kind)
        spec: Any = None
        try:
            spec = cls.spec_model.model_validate(body.get("spec") or {}, extra="forbid" if strict else None)
        except ValidationError as error:
            found += problems(error, "spec")
        if found or spec is None:
            raise InvalidObjectError(tuple(found))
        return cls(
            name=name,
            namespace=metadata.get("namespace") or "default",
            uid=metadata.get("uid") or "",
            generation=metadata.get("generation") or 0,
            spec=spec,
        )


_FIELDS = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})
_METADATA = frozenset(
    {
        *("name", "generateName", "namespace", "labels", "annotations", "finalizers", "ownerReferences"),
        *("uid", "resourceVersion", "generation", "managedFields", "selfLink"),
        *("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"),
    }
)
"""Fields of ObjectMeta (k8s.io/apimachinery v0.36.3, pkg/apis/meta/v1/types.go)."""


def _strangers(body: Mapping[str, Any], kind: str) -> list[str]:
    found = []
    if body.get("apiVersion") != API_VERSION:
        found.append(f"apiVersion: must be {API_VERSION}")
    if body.get("kind") != kind:
        found.append(f"kind: must be {kind}")
    for above, part, known in (((), body, _FIELDS), (("metadata",), body.get("metadata") or {}, _METADATA)):
        found += [
            f"{path(*above, str(key))}: is not a field of this resource; check the spelling"
            for key in part
            if key not in known
        ]
    return found
