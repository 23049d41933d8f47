"""VLLMServer: a vLLM model server."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationError

from vllm_operator.api.engine import Argument, Cpu, Engine, EngineArgs
from vllm_operator.api.meta import (
    API_VERSION,
    InvalidObjectError,
    Model,
    Rule,
    list_map,
    path,
    problems,
)
from vllm_operator.api.parts import Cache, LocalReference, ModelSource, Resources, Variables
from vllm_operator.api.pod import Annotations, PodFields
from vllm_operator.api.quantity import Size

KIND = "VLLMServer"
PLURAL = "vllmservers"
NAME_PATTERN = r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$"
RESERVED_SUFFIXES = ("-llm", "-prefetch")
"""Endings that children's names take; a resource whose name has one could meet another's child."""


class Service(Model):
    """How the server is reached."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    """Type of the Service: `ClusterIP` is reached from inside the cluster only. vLLM asks callers for no key
    by itself: whoever reaches the port may use the model."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8008
    """Port of the Service. The container itself listens on 8000."""
    annotations: Annotations | None = None
    """Annotations of the Service, such as those that a load balancer reads."""


class Warmup(Model):
    """The time between the start of a container and its first answer."""

    timeout_seconds: Annotated[int, Field(ge=60, le=604800)] = 7200
    """Seconds that a container has for download, load and warm-up before it is started again."""


class Rollout(Model):
    """How one revision takes the place of another."""

    drain_seconds: Annotated[int, Field(ge=0, le=86400)] = 60
    """Seconds that running requests get to end when a pod is stopped."""
    progress_deadline_seconds: Annotated[int, Field(ge=60, le=2**31 - 1)] | None = None
    """Seconds without progress after which a rollout counts as failed; at least warmup.timeoutSeconds.
    Unset: warmup.timeoutSeconds and half an hour."""
    refresh: Annotated[str, Field(max_length=63)] | None = None
    """Any text. To change it takes what the present operator would make: its pod template and its default
    image. `status.refreshAvailable` says whether there is anything to take."""


_DEADLINE = Rule(
    "!has(self.rollout) || !has(self.rollout.progressDeadlineSeconds) || "
    "self.rollout.progressDeadlineSeconds >= "
    "(has(self.warmup) && has(self.warmup.timeoutSeconds) ? self.warmup.timeoutSeconds : 7200)",
    "rollout.progressDeadlineSeconds must be at least warmup.timeoutSeconds (7200 unless set): a pod may "
    "take that long to start",
    lambda s: (s.rollout.progress_deadline_seconds or 2**31) >= s.warmup.timeout_seconds,
)

_PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy")

_ONE_PROXY = Rule(
    "!has(self.proxy) || !has(self.extraEnv) || "
    f"!self.extraEnv.exists(e, e.name.lowerAscii() in {list(_PROXY_VARIABLES)})",
    "give proxies in proxy or as variables in extraEnv, not both",
    lambda s: s.proxy is None or not any(e.name.lower() in _PROXY_VARIABLES for e in s.extra_env or ()),
)

_TOGETHER = Rule(
    "self.replicas <= 1 || !has(self.cache.size) || !has(self.topologySpreadConstraints) || "
    "(has(self.cache.accessModes) && 'ReadWriteMany' in self.cache.accessModes) || "
    "!self.topologySpreadConstraints.exists(c, c.topologyKey == 'kubernetes.io/hostname' && "
    "c.whenUnsatisfiable == 'DoNotSchedule' && c.maxSkew < self.replicas)",
    "replicas on different nodes cannot share a ReadWriteOnce cache: remove the topologySpreadConstraint on "
    "kubernetes.io/hostname, or give cache.accessModes [ReadWriteMany]",
    lambda s: (
        s.replicas <= 1
        or s.cache.size is None
        or "ReadWriteMany" in (s.cache.access_modes or ())
        or not any(
            (c.topology_key, c.when_unsatisfiable) == ("kubernetes.io/hostname", "DoNotSchedule")
            and c.max_skew < s.replicas
            for c in s.topology_spread_constraints or ()
        )
    ),
)


def _has_engine(spec: "VLLMServerSpec") -> bool:
    return spec.image is None or spec.engine is not None


class VLLMServerSpec(PodFields):
    """What is wanted."""

    rules: ClassVar = (
        Rule(
            "!has(self.image) || has(self.engine)",
            "engine is required with an image of your own: say which vLLM it holds, "
            "such as {family: vllm, version: '0.32'}",
            _has_engine,
        ),
        _DEADLINE,
        _ONE_PROXY,
        _TOGETHER,
    )

    model: ModelSource
    """The model that is served."""
    device: Literal["cpu"]
    """Where the model runs."""
    engine: Engine | None = None
    """Which vLLM the image holds. Unset: that of the operator's default image."""
    image: (
        Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[a-zA-Z0-9][-._:/@a-zA-Z0-9]*$")] | None
    ) = None
    """Container image. Unset: the operator's default, which then stays the same for this server."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When the image is pulled. Unset: the cluster's default."""
    image_pull_secrets: Annotated[list[LocalReference], Field(max_length=8), *list_map("name")] | None = None
    """Secrets with credentials of the image's registry."""
    tensor_parallel_size: Annotated[int, Field(ge=1, le=64)] = 1
    """Ranks that share each layer. On CPUs a rank is a NUMA node."""
    engine_args: EngineArgs = EngineArgs()
    """vLLM's knobs."""
    extra_args: Annotated[list[Argument], Field(max_length=64)] | None = None
    """Further arguments of `vllm serve`, after all others, one word an item. No shell reads them."""
    extra_env: Variables | None = None
    """Further environment variables."""
    cpu: Cpu = Cpu()
    """Settings of a server on CPUs."""
    cache: Cache
    """Where the weights are kept. It is mounted at `/data`."""
    replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Pods that serve. 0 suspends the server and keeps its cache."""
    service: Service = Service()
    """How the server is reached."""
    warmup: Warmup = Warmup()
    """The time that a start may take."""
    rollout: Rollout = Rollout()
    """How one revision takes the place of another."""
    paused: bool = False
    """Change nothing in the cluster but this resource's status."""
    resources: Resources = Resources()
    """Compute resources of the vLLM container."""
    shm_size: Size | None = None
    """Size of `/dev/shm`, through which vLLM's processes talk; it counts as memory. Unset: `4Gi`."""


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


@dataclass(frozen=True, slots=True)
class VLLMServer:
    """A VLLMServer as the operator sees it."""

    name: str
    namespace: str
    uid: str
    generation: int
    spec: VLLMServerSpec

    @classmethod
    def parse(cls, body: Mapping[str, Any], *, strict: bool = False) -> "VLLMServer":
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
            found += _strangers(body)
        spec = None
        try:
            spec = VLLMServerSpec.model_validate(body.get("spec") or {}, extra="forbid" if strict else None)
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


def _strangers(body: Mapping[str, Any]) -> list[str]:
    found = []
    if body.get("apiVersion") != API_VERSION:
        found.append(f"apiVersion: must be {API_VERSION}")
    if body.get("kind") != KIND:
        found.append(f"kind: must be {KIND}")
    for above, part, known in (((), body, _FIELDS), (("metadata",), body.get("metadata") or {}, _METADATA)):
        found += [
            f"{path(*above, str(key))}: is not a field of this resource; check the spelling"
            for key in part
            if key not in known
        ]
    return found
