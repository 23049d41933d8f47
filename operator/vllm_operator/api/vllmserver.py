"""VLLMServer: a vLLM model server."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from vllm_operator.api import combinations
from vllm_operator.api.access import ApiKeyReference, NetworkPolicy
from vllm_operator.api.engine import Argument, Cpu, Engine, EngineArgs
from vllm_operator.api.fp8 import Fp8
from vllm_operator.api.gaudi import Gaudi, Warmup
from vllm_operator.api.meta import Model, list_map
from vllm_operator.api.microservice import Microservice
from vllm_operator.api.parts import Cache, ImageName, LocalReference, ModelSource, Resources, Variables
from vllm_operator.api.pod import Annotations, PodFields, Spreads
from vllm_operator.api.quantity import Size
from vllm_operator.api.resource import Resource
from vllm_operator.api.scaling import Autoscaling, Monitoring

KIND = "VLLMServer"
PLURAL = "vllmservers"


class Service(Model):
    """How the server is reached."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    """Type of the Service: `ClusterIP` is reached from inside the cluster only. Without `apiKeySecretRef`
    whoever reaches the port may use the model."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8008
    """Port of the Service. The container itself listens on 8000."""
    annotations: Annotations | None = None
    """Annotations of the Service, such as those that a load balancer reads."""


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


class VLLMServerSpec(PodFields):
    """What is wanted."""

    rules: ClassVar = combinations.RULES

    model: ModelSource
    """The model that is served."""
    device: Literal["cpu", "gaudi"]
    """Where the model runs: on the node's CPUs, or on Intel Gaudi cards."""
    engine: Engine | None = None
    """Which vLLM the image holds. Unset: that of the operator's default image."""
    image: ImageName | None = None
    """Container image. Unset: the operator's default, which then stays the same for this server."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When the image is pulled. Unset: the cluster's default."""
    image_pull_secrets: Annotated[list[LocalReference], Field(max_length=8), *list_map("name")] | None = None
    """Secrets with credentials of the image's registry."""
    tensor_parallel_size: Annotated[int, Field(ge=1, le=64)] = 1
    """Ranks that share each layer: on CPUs a rank is a NUMA node, on Gaudi a card."""
    pipeline_parallel_size: Annotated[int, Field(ge=1, le=64)] = 1
    """Groups of layers that are worked on one after the other. A server on Gaudi takes as many cards as this
    times tensorParallelSize: 1, 2, 4 or 8."""
    engine_args: EngineArgs = EngineArgs()
    """vLLM's knobs."""
    extra_args: Annotated[list[Argument], Field(max_length=64)] | None = None
    """Further arguments of `vllm serve`, after all others, one word an item. No shell reads them."""
    extra_env: Variables | None = None
    """Further environment variables."""
    cpu: Cpu = Cpu()
    """Settings of a server on CPUs."""
    gaudi: Gaudi = Gaudi()
    """Settings of a server on Gaudi cards."""
    cache: Cache
    """Where the weights are kept. It is mounted at `/data`."""
    prefetch: bool = True
    """Fill the cache by a Job of its own before pods start, so that no card idles during a download, and only
    that Job has the token and asks the hub. A model below `/data` needs none."""
    replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Pods that serve. 0 suspends the server and keeps its cache. With autoscaling, leave it to that."""
    autoscaling: Autoscaling | None = None
    """Have a HorizontalPodAutoscaler set `replicas` by a metric of the pods. Unset: `replicas` is what
    somebody sets, by hand or by an autoscaler of their own."""
    monitoring: Monitoring = Monitoring()
    """Who scrapes the metrics of the pods."""
    service: Service = Service()
    """How the server is reached."""
    api_key_secret_ref: ApiKeyReference | None = None
    """Secret with the key that callers give as a bearer token. vLLM asks for it below `/v1`, but not at
    `/invocations`, `/tokenize` and `/metrics`. Unset: no key is asked for."""
    network_policy: NetworkPolicy | None = None
    """Let only certain peers reach the pods, and the pods reach nothing, unless they download the model
    themselves. Unset: no NetworkPolicy is made."""
    fp8: Fp8 | None = None
    """Serve in FP8 on Gaudi: by a calibration, or by scales that are taken as requests come. Unset: BF16."""
    warmup: Warmup = Warmup()
    """The time that a start may take."""
    microservice: Microservice = Microservice()
    """A second program before the server, which takes the guide's requests too."""
    rollout: Rollout = Rollout()
    """How one revision takes the place of another."""
    paused: bool = False
    """Change nothing in the cluster but this resource's status."""
    verify: bool = True
    """Ask the server through its Service for its models and one token when a revision serves, and every half
    hour; the answer is the condition `Verified`, and decides nothing else."""
    resources: Resources = Resources()
    """Compute resources of the vLLM container."""
    topology_spread_constraints: Spreads | None = None
    """How the pods are spread over nodes or zones: a pod's `topologySpreadConstraints` (core/v1
    TopologySpreadConstraint). One without `labelSelector` spreads the server's own pods."""
    shm_size: Size | None = None
    """Size of `/dev/shm`, through which vLLM's processes talk; it counts as memory. Unset: `4Gi`, on
    Gaudi `16Gi`."""


class VLLMServer(Resource[VLLMServerSpec]):
    """A VLLMServer as the operator sees it."""

    __slots__ = ()

    kind = KIND
    spec_model = VLLMServerSpec
