"""Every name, label and path that the operator composes."""

from vllm_operator.api.fp8quantization import FP8Quantization
from vllm_operator.api.kinds import Ours
from vllm_operator.api.meta import GROUP
from vllm_operator.api.resource import MICROSERVICE_SUFFIX
from vllm_operator.api.vllmserver import VLLMServer

FIELD_MANAGER = "vllm-operator"
INSTANCE = "app.kubernetes.io/instance"
MANAGED_BY = "app.kubernetes.io/managed-by"
SERVER = f"{GROUP}/server"
QUANTIZATION = f"{GROUP}/quantization"
RETRY = f"{GROUP}/retry"
"""Annotation of a quantization's Job: `spec.retry` when it was made."""
RECORD = f"{GROUP}/record"
COMPONENT = "app.kubernetes.io/component"

CONTAINER = "vllm"
PREFETCH = "prefetch"
"""Component and container of the Job that fills a cache."""
CALIBRATION = "calibration"
"""Component and container of the Job that calibrates."""
VERIFY = "verify"
"""Container that looks at a calibration's files before a server starts."""
PORT = 8000
"""Port on which the container listens."""
DATA = "/data"
HUB = f"{DATA}/hub"
"""HF_HUB_CACHE where HF_HOME is `/data`."""
HOME = "/home/vllm"
CHAT_TEMPLATE = "/etc/vllm/chat-template.jinja"
CHAT_TEMPLATE_VOLUME = "chat-template"
DATASET_VOLUME = "dataset"
QUANT_CONFIG = f"{GROUP}/quant-config"
"""Annotation of pods that serve in FP8 without a calibration: what is to be in their QUANT_CONFIG."""
QUANT_CONFIG_FILE = "/etc/vllm/fp8/quant.json"
"""QUANT_CONFIG of these."""


MICROSERVICE = "microservice"
"""Component and container of the microservice's pods."""
MICROSERVICE_PORT = 9000
"""Port on which its container listens."""
OF_MICROSERVICE = f"{GROUP}/microservice"
"""Label of the microservice's pods: the server's own label would make them pods that hold its cache."""
OF_SERVERS = "server"
"""Component of the pods that serve."""


def selector(name: str) -> dict[str, str]:
    """Labels that find a server's pods. A Deployment's selector can never change."""
    return {SERVER: name, COMPONENT: OF_SERVERS}


def selector_of(resource: Ours, component: str) -> dict[str, str]:
    """Labels that find a resource's pods of a component."""
    return {label(resource.kind): resource.name, COMPONENT: component}


def label(kind: str) -> str:
    """Label of children that names the resource of a kind that they belong to."""
    return QUANTIZATION if kind == FP8Quantization.kind else SERVER


def labels(resource: Ours, component: str = "server") -> dict[str, str]:
    """Labels of every child of a resource."""
    return {
        "app.kubernetes.io/name": "vllm",
        INSTANCE: resource.name,
        MANAGED_BY: FIELD_MANAGER,
        label(resource.kind): resource.name,
        COMPONENT: component,
    }


def deployment(name: str) -> str:
    """Name of a server's Deployment."""
    return name


def microservice(name: str) -> str:
    """Name of a server's microservice: of its Deployment, its Service and its PodDisruptionBudget."""
    return f"{name}{MICROSERVICE_SUFFIX}"


def microservice_selector(name: str) -> dict[str, str]:
    """Labels that find the pods of a server's microservice."""
    return {OF_MICROSERVICE: name, COMPONENT: MICROSERVICE}


def microservice_record(server: VLLMServer, digest: str) -> str:
    """Name of a record of a server's microservice."""
    return f"{microservice(server.name)}-{digest}"


def microservice_url(server: VLLMServer) -> str:
    """Where a server's microservice is reached inside the cluster."""
    return f"http://{microservice(server.name)}.{server.namespace}.svc:{server.spec.microservice.port}"


def service(name: str) -> str:
    """Name of a server's Service."""
    return name


def service_account(resource: Ours) -> str:
    """Name of the ServiceAccount that is made: never `default`, whatever the resource is called."""
    return _prefix(resource) if isinstance(resource, FP8Quantization) else f"{resource.name}-vllm"


def disruption_budget(name: str) -> str:
    """Name of a server's PodDisruptionBudget."""
    return name


def network_policy(resource: Ours, component: str) -> str:
    """Name of the NetworkPolicy of a resource's pods of a component."""
    return _prefix(resource) if component == OF_SERVERS else f"{_prefix(resource)}-{component}"


def autoscaler(name: str) -> str:
    """Name of a server's HorizontalPodAutoscaler."""
    return name


def pod_monitor(name: str) -> str:
    """Name of a server's PodMonitor."""
    return name


def claim(resource: Ours) -> str:
    """Name of the claim that holds the cache of a resource."""
    return resource.spec.cache.claim_name or f"{resource.name}-cache"


def _prefix(resource: Ours) -> str:
    """How names of children begin: a server and a quantization may have the same name."""
    return f"{resource.name}-fp8q" if isinstance(resource, FP8Quantization) else resource.name


def prefetch_job(resource: Ours, digest: str) -> str:
    """Name of the Job that fills a cache; at most 63 characters, since it becomes a label of the pods."""
    return f"{_prefix(resource)}-{PREFETCH}-{digest[: _of_name(resource)]}"


def is_prefetch(resource: Ours, job: str) -> bool:
    """Whether it is the name of a Job that fills the cache of a resource."""
    return job.startswith(prefetch_job(resource, ""))


def calibration_job(quantization: FP8Quantization, fingerprint: str) -> str:
    """Name of the Job that calibrates: one recipe has one Job, whatever restarts or races there are."""
    return f"{_prefix(quantization)}-{fingerprint[: _of_name(quantization)]}"


def _of_name(resource: Ours) -> int:
    return 8 if isinstance(resource, FP8Quantization) else 10


def script(resource: Ours) -> str:
    """Name of the ConfigMap with the programs of a resource's Jobs."""
    return _prefix(resource) if isinstance(resource, FP8Quantization) else f"{resource.name}-{PREFETCH}"


def record(resource: Ours, digest: str) -> str:
    """Name of a record of a resource."""
    return f"{_prefix(resource)}-{digest}"


def url(server: VLLMServer) -> str:
    """Where the server is reached inside the cluster."""
    return f"http://{service(server.name)}.{server.namespace}.svc:{server.spec.service.port}"


def kubectl(namespace: str, words: str) -> str:
    """A kubectl line in a namespace, in backquotes."""
    return f"`kubectl -n {namespace} {words}`"


def selector_text(name: str) -> str:
    """The selector of a server's pods, as `kubectl --selector` takes it."""
    return ",".join(f"{key}={value}" for key, value in sorted(selector(name).items()))
