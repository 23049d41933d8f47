"""Servers of the tests, from their resource to the pod template that is rendered for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vllm_operator.api.observed import Observed
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.desired import names
from vllm_operator.desired.defaults import Defaults, Image
from vllm_operator.desired.server import desired

MODEL = "tests/tiny-llama"
DEFAULT = Defaults(
    {"cpu": Image("registry.example/vllm:v1", "vllm 0.32.0")},
    microservice_image="registry.example/vllm-operator:v1",
)

SPEC: dict[str, Any] = {
    "model": {"name": MODEL, "offline": True},
    "device": "cpu",
    "cache": {"size": "1Gi"},
    "cpu": {"kvCache": "256Mi"},
    "engineArgs": {"maxNumSeqs": 4},
    "resources": {"limits": {"cpu": 2, "memory": "8Gi"}},
    # The budget of the startup probe, which ends a test that hangs.
    "warmup": {"timeoutSeconds": 900},
}


@dataclass(frozen=True)
class Case:
    """A server: its name, and what is laid over SPEC."""

    name: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    config_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def server(self) -> VLLMServer:
        """The server, read as the operator reads it."""
        body = {
            "apiVersion": "vllm-operator.dev/v1alpha1",
            "kind": "VLLMServer",
            "metadata": {"name": self.name},
            "spec": {**SPEC, **self.spec},
        }
        return VLLMServer.parse(body, strict=True)

    @property
    def claim(self) -> str:
        """The claim of its cache."""
        return names.claim(self.server)

    @property
    def template(self) -> dict[str, Any]:
        """Its pod template."""
        return self._template(names.deployment(self.name))

    @property
    def microservice(self) -> dict[str, Any]:
        """The pod template of its microservice."""
        return self._template(names.microservice(self.name))

    def _template(self, name: str) -> dict[str, Any]:
        observed = Observed(server=self.server, children={}, claim=None, pods=())
        (deployment,) = (
            child
            for child in desired(observed, DEFAULT).manifests
            if (child["kind"], child["metadata"]["name"]) == ("Deployment", name)
        )
        template: dict[str, Any] = deployment["spec"]["template"]
        return template
