"""Every name, label and path that the operator composes."""

from vllm_operator.api.meta import GROUP
from vllm_operator.api.vllmserver import VLLMServer

FIELD_MANAGER = "vllm-operator"
MANAGED_BY = "app.kubernetes.io/managed-by"
SERVER = f"{GROUP}/server"
RECORD = f"{GROUP}/record"
COMPONENT = "app.kubernetes.io/component"

CONTAINER = "vllm"
PORT = 8000
"""Port on which the container listens."""
DATA = "/data"
HOME = "/home/vllm"
CHAT_TEMPLATE = "/etc/vllm/chat-template.jinja"
CHAT_TEMPLATE_VOLUME = "chat-template"


def selector(name: str) -> dict[str, str]:
    """Labels that find a server's pods. A Deployment's selector can never change."""
    return {SERVER: name, COMPONENT: "server"}


def labels(name: str) -> dict[str, str]:
    """Labels of every child of a server."""
    return {
        "app.kubernetes.io/name": "vllm",
        "app.kubernetes.io/instance": name,
        MANAGED_BY: FIELD_MANAGER,
        **selector(name),
    }


def deployment(name: str) -> str:
    """Name of a server's Deployment."""
    return name


def service(name: str) -> str:
    """Name of a server's Service."""
    return name


def service_account(name: str) -> str:
    """Name of a server's ServiceAccount: never `default`, whatever the server is called."""
    return f"{name}-vllm"


def disruption_budget(name: str) -> str:
    """Name of a server's PodDisruptionBudget."""
    return name


def claim(server: VLLMServer) -> str:
    """Name of the claim that holds a server's cache."""
    return server.spec.cache.claim_name or f"{server.name}-cache"


def record(name: str, digest: str) -> str:
    """Name of a server's record."""
    return f"{name}-{digest}"


def url(server: VLLMServer) -> str:
    """Where the server is reached inside the cluster."""
    return f"http://{service(server.name)}.{server.namespace}.svc:{server.spec.service.port}"


def selector_text(name: str) -> str:
    """The selector of a server's pods, as `kubectl --selector` takes it."""
    return ",".join(f"{key}={value}" for key, value in sorted(selector(name).items()))
