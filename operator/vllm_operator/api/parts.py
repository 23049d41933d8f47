"""Parts of a spec that more than one resource has: the model, its cache, the environment, resources."""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from vllm_operator.api.meta import Model, Rule, checked, list_map, list_set, without_nulls
from vllm_operator.api.owned import OWNED_VARIABLE_CEL, OWNED_VARIABLES
from vllm_operator.api.quantity import Quantity, Size, exact, whole

NO_NUL = r"^[^\x00]*$"
"""No process can be given a NUL, in an argument or in its environment."""

DNS_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
DNS_NAME = rf"{DNS_LABEL}([.]{DNS_LABEL})*"

ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=f"^{DNS_NAME}$")]
"""Name of an object in the resource's own namespace (a DNS subdomain)."""

DataKey = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[.]?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$")]
"""Key in a Secret or ConfigMap; it may not begin with two points, which would lead out of a folder."""


ImageName = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[a-zA-Z0-9][-._:/@a-zA-Z0-9]*$")]


class LocalReference(Model):
    """Names an object in the resource's own namespace."""

    name: ObjectName
    """Name of the object, in the namespace of this resource."""


class TokenReference(LocalReference):
    """Names a Secret that holds a Hugging Face token."""

    key: DataKey = "HF_TOKEN"
    """Key in the Secret that holds the token."""


HubEndpoint = Annotated[
    str, Field(max_length=512, pattern=r"^https?://[^\x00-\x20\x7f/@?#]+(/[^\x00-\x20\x7f@?#]*)?$")
]


class ConfigMapItem(LocalReference):
    """Names a key of a ConfigMap that must be there."""

    key: DataKey
    """Key in the ConfigMap."""


class ChatTemplate(Model):
    """Where a chat template (Jinja) comes from."""

    config_map_key_ref: ConfigMapItem
    """Key of a ConfigMap in the resource's own namespace. vLLM reads it at its start only: to change the
    template, name another ConfigMap."""


class ModelReference(Model):
    """Which model it is, and how it is fetched."""

    rules: ClassVar = (
        Rule(
            "!self.name.matches('(^|/)[.][.]?(/|$)')",
            "name may not hold `.` or `..` as a path segment; give the path below /data/ in full",
            lambda m: not {".", ".."} & set(m.name.split("/")),
        ),
        Rule(
            "!has(self.revision) || !self.name.startsWith('/')",
            "revision belongs to a Hugging Face id; a path below /data/ has none: remove revision",
            lambda m: m.revision is None or not m.name.startswith("/"),
        ),
    )

    name: Annotated[
        str,
        Field(
            max_length=512,
            pattern=r"^(/data(/[^/\x00-\x1f\x7f]+)+|[a-zA-Z0-9_][-._a-zA-Z0-9]*(/[a-zA-Z0-9_][-._a-zA-Z0-9]*)?)$",
        ),
    ]
    """Hugging Face id such as `meta-llama/Llama-3.1-8B-Instruct`, or a path below `/data/`, where the cache
    is mounted."""
    revision: Annotated[str, Field(max_length=255, pattern=r"^[a-zA-Z0-9_][-._/a-zA-Z0-9]*$")] | None = None
    """Branch, tag or commit of the Hugging Face repository. Unset: its default branch."""
    token_secret_ref: TokenReference | None = None
    """Secret with the Hugging Face token that a gated or private model needs."""
    trust_remote_code: bool = False
    """Run Python code that the model's repository brings along. It runs with all that the pod may do."""
    hub_endpoint: HubEndpoint | None = None
    """Hub, or mirror of one, that the model is fetched from, such as `https://hub.example.com`.
    Unset: Hugging Face's own."""


class ModelSource(ModelReference):
    """Which model is served."""

    served_names: (
        Annotated[
            list[Annotated[str, Field(max_length=512, pattern=r"^[^-\x00-\x20\x7f][^\x00-\x1f\x7f]*$")]],
            Field(min_length=1, max_length=16),
            *list_set(),
        ]
        | None
    ) = None
    """Names under which the API serves the model; the first is also the metrics' label. Unset: `name`."""
    chat_template: ChatTemplate | None = None
    """Chat template that takes the place of the model's own."""
    offline: bool = False
    """Ask no hub for anything: the cache holds the model already."""


class Cache(Model):
    """Where the weights are kept: a claim of the operator's making (`size`) or a given one (`claimName`)."""

    rules: ClassVar = (
        Rule(
            "has(self.claimName) != has(self.size)",
            "give exactly one of size (a claim is made) or claimName (an existing claim is used)",
            lambda c: (c.claim_name is None) != (c.size is None),
        ),
        Rule(
            "has(self.size) || !(has(self.storageClassName) || has(self.accessModes) || has(self.retention))",
            "storageClassName, accessModes and retention go with size; a given claim has its own",
            lambda c: c.size is not None or not (c.storage_class_name or c.access_modes or c.retention),
        ),
        Rule(
            "!has(self.size) || !isQuantity(string(self.size)) || "
            "quantity(string(self.size)).isGreaterThan(quantity('0'))",
            "size must be greater than 0",
            lambda c: c.size is None or exact(c.size) > 0,
        ),
        Rule(
            "!has(self.size) || !has(oldSelf.size) || !isQuantity(string(self.size)) || "
            "quantity(string(self.size)).compareTo(quantity(string(oldSelf.size))) >= 0",
            "size may grow, but not shrink: a volume cannot be made smaller",
        ),
        Rule(
            "!has(self.size) || !has(oldSelf.size) || "
            "(has(self.storageClassName) ? has(oldSelf.storageClassName) && "
            "self.storageClassName == oldSelf.storageClassName : !has(oldSelf.storageClassName)) && "
            "(has(self.accessModes) ? has(oldSelf.accessModes) && "
            "self.accessModes == oldSelf.accessModes : !has(oldSelf.accessModes))",
            "storageClassName and accessModes cannot change: make another claim and name it in claimName",
        ),
    )

    claim_name: ObjectName | None = None
    """An existing PersistentVolumeClaim. Its files keep their owners unless fsGroup is set; uid 1000 must be
    able to read them."""
    size: Size | None = None
    """Size of the claim that is made, such as `100Gi`. It may grow where the storage class allows it."""
    storage_class_name: ObjectName | None = None
    """Storage class of the claim that is made. Unset: the cluster's default class."""
    access_modes: (
        Annotated[
            list[Literal["ReadWriteOnce", "ReadWriteMany"]],
            Field(min_length=1, max_length=2),
            *list_set(),
        ]
        | None
    ) = None
    """Access modes of the claim that is made. Unset: `[ReadWriteOnce]`, with which nothing surges."""
    retention: Literal["Retain", "Delete"] | None = None
    """Whether the claim that is made outlives this resource. Unset: `Retain`, and a resource of the same
    name finds its weights again."""
    fs_group: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """Group that is made the owner of the volume's files. Unset: 1000 on a claim that is made, none on a
    given one."""


class SecretKey(LocalReference):
    """Names a key of a Secret."""

    key: DataKey
    """Key in the Secret."""
    optional: bool | None = None
    """Start without the variable when the Secret or the key is missing."""


class ConfigMapKey(LocalReference):
    """Names a key of a ConfigMap."""

    key: DataKey
    """Key in the ConfigMap."""
    optional: bool | None = None
    """Start without the variable when the ConfigMap or the key is missing."""


class FieldPath(Model):
    """Names a field of the pod."""

    field_path: Annotated[str, Field(min_length=1, max_length=512)]
    """Path such as `status.podIP`."""


class VariableSource(Model):
    """Where the value of a variable comes from: exactly one of them."""

    rules: ClassVar = (
        Rule(
            "[has(self.secretKeyRef), has(self.configMapKeyRef), has(self.fieldRef)].exists_one(x, x)",
            "give exactly one of secretKeyRef, configMapKeyRef or fieldRef",
            lambda s: [s.secret_key_ref, s.config_map_key_ref, s.field_ref].count(None) == 2,
        ),
    )

    secret_key_ref: SecretKey | None = None
    """Key of a Secret in the resource's own namespace."""
    config_map_key_ref: ConfigMapKey | None = None
    """Key of a ConfigMap in the resource's own namespace."""
    field_ref: FieldPath | None = None
    """Field of the pod."""


VariableName = Annotated[
    str,
    Field(min_length=1, max_length=256, pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$"),
    *checked(
        Rule(
            OWNED_VARIABLE_CEL,
            "the operator sets this variable itself: use the field for it (model, cache, cpu, warmup, fp8, "
            "apiKeySecretRef) or leave it out",
            lambda name: name not in OWNED_VARIABLES,
        )
    ),
]


class Variable(Model):
    """One environment variable."""

    rules: ClassVar = (
        Rule(
            "!(has(self.value) && has(self.valueFrom))",
            "give value or valueFrom, not both",
            lambda v: v.value is None or v.value_from is None,
        ),
    )

    name: VariableName
    """Name of the variable."""
    value: Annotated[str, Field(max_length=32768, pattern=NO_NUL)] | None = None
    """Value, taken as it stands: `$(OTHER)` is not expanded."""
    value_from: VariableSource | None = None
    """Source of the value."""


Variables = Annotated[list[Variable], Field(max_length=64), *list_map("name")]


def _whole_bytes(amounts: dict[str, str]) -> dict[str, str]:
    return {
        name: whole(text) if name in ("memory", "ephemeral-storage") else text
        for name, text in amounts.items()
    }


ResourceQuantities = Annotated[
    dict[str, Quantity], Field(max_length=16), BeforeValidator(without_nulls), AfterValidator(_whole_bytes)
]

_RESOURCE_NAME = "^[-._/a-zA-Z0-9]{1,317}$"
_RESOURCE_NAME_RE = re.compile(_RESOURCE_NAME)


def _no_gaudi(resources: "Resources") -> bool:
    return not any("habana.ai/gaudi" in (side or {}) for side in (resources.limits, resources.requests))


class Resources(Model):
    """Compute resources of the vLLM container."""

    rules: ClassVar = (
        Rule(
            "!(has(self.limits) && 'habana.ai/gaudi' in self.limits) && "
            "!(has(self.requests) && 'habana.ai/gaudi' in self.requests)",
            "habana.ai/gaudi follows from tensorParallelSize (of a server, times pipelineParallelSize): "
            "remove it here",
            _no_gaudi,
        ),
        Rule(
            f"(!has(self.limits) || self.limits.all(k, k.matches('{_RESOURCE_NAME}'))) && "
            f"(!has(self.requests) || self.requests.all(k, k.matches('{_RESOURCE_NAME}')))",
            "a resource name has at most 317 of a-z, A-Z, 0-9, -, _, . and /",
            lambda r: all(
                _RESOURCE_NAME_RE.fullmatch(k) for side in (r.limits, r.requests) for k in side or {}
            ),
        ),
    )

    limits: ResourceQuantities | None = None
    """The most that the container may use, such as `{cpu: 16, memory: 64Gi}`."""
    requests: ResourceQuantities | None = None
    """What a node must have free. Unset: the same as `limits`."""
