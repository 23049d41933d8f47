"""Where the bench takes place: a control plane with room for all servers, and the operator."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.bench.client import create, send
from tests.harness.api import Api, Object
from tests.harness.audit import Audit
from tests.harness.controlplane import ControlPlane
from tests.harness.crds import apply_crds
from tests.harness.equipment import NodeShape
from tests.harness.kinds import KINDS
from tests.harness.operator import OperatorProcess

SHAPE = NodeShape(cpus=512, memory="4Ti", pods=250)
SPEC: Object = {
    "model": {"name": "Qwen/Qwen2.5-0.5B-Instruct"},
    "device": "cpu",
    "cache": {"size": "10Gi", "storageClassName": "wait"},
    "engineArgs": {"maxModelLen": 4096, "maxNumSeqs": 16},
    "cpu": {"kvCache": "4Gi"},
    "resources": {"limits": {"cpu": 2, "memory": "8Gi"}},
}


class Arena:
    """A running control plane and operator; a context manager.

    `names` are the servers of the storm, `edited` those that are there before it and are edited by users.
    The operator looks at one namespace only: what the replay does in another costs it nothing.
    """

    namespace = "bench"

    def __init__(self, servers: int):
        """Plan it for a number of servers."""
        self.names = [f"s{index:05d}" for index in range(servers)]
        self.edited = [f"e{index:05d}" for index in range(min(100, max(20, servers // 10)))]
        # Room for an uneven spread, and for old pods that are still going.
        self.plane = ControlPlane(nodes=2 + (servers + len(self.edited)) // 100, shape=SHAPE, volumes=1)
        self.operator = OperatorProcess(self.plane, [self.namespace])
        self._opened = ExitStack()

    def __enter__(self) -> "Arena":
        """Start all but the operator."""
        try:
            self._opened.enter_context(self.plane)
            # Both batches, that of the operator and that of the replay, keep their claims.
            self.plane.add_volumes(len(self.edited) + 2 * len(self.names), "wait")
            self._teach_collector()
            self.add_namespace(self.namespace)
            self.audit = Audit(self.plane.audit_log, self.api)
            self._opened.callback(self.audit.close)
            self._opened.callback(self.operator.close)
        except BaseException:
            self._opened.close()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        """Stop everything."""
        self._opened.close()

    @property
    def api(self) -> Api:
        """The administrator's client."""
        return self.plane.api

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.plane.kubeconfig

    def add_namespace(self, name: str) -> None:
        """Make a namespace."""
        self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def create_servers(self, namespace: str, names: Sequence[str]) -> None:
        """Create servers at once."""
        send(self.kubeconfig, [[create(server(namespace, name))] for name in names])

    def delete_servers(self) -> None:
        """Delete all servers of the operator's namespace, and wait until their pods are gone."""
        for name in self.names + self.edited:
            self.api.delete("VLLMServer", self.namespace, name)
        # One is enough to see that some are left: all of them, again and again, would be hard work.
        pods, one = KINDS["Pod"].path(self.namespace), {"limit": "1"}
        self.api.wait_for(
            lambda: not self.api.request("GET", pods, parameters=one)["items"],
            60 + len(self.names),
            "all pods are gone",
        )

    def _teach_collector(self) -> None:
        """Install the CRDs; the garbage collector looks for new kinds at its start and every 30 s only."""
        apply_crds(self.api)
        for process in self.plane.processes:
            if process.name == "kube-controller-manager":
                process.stop()
                process.start()


def server(namespace: str, name: str) -> Object:
    """A VLLMServer as it is created."""
    return {
        "apiVersion": "vllm-operator.dev/v1alpha1",
        "kind": "VLLMServer",
        "metadata": {"name": name, "namespace": namespace},
        "spec": SPEC,
    }
