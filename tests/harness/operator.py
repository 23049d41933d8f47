"""The operator as a process of its own, under a ServiceAccount with exactly the rules that it ships."""

import importlib
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import httpx

from tests.harness.api import Api, Object
from tests.harness.binaries import REPOSITORY
from tests.harness.kubeconfig import read_kubeconfig, write_kubeconfig
from tests.harness.processes import Process, free_ports, wait_until

SOURCE = REPOSITORY / "operator"
RBAC = "rbac.authorization.k8s.io"
READY_SECONDS = 60.0
# A proxy of the surroundings must not come between the operator and a server on loopback.
_NOT_INHERITED = frozenset({"http_proxy", "https_proxy", "all_proxy", "kubeconfig"})
# Nothing routes a Service here: a test in which servers are asked says how they are reached.
_UNASKED = {"VLLM_OPERATOR_VERIFY": "false"}


class Cluster(Protocol):
    """What the operator needs of a cluster: an administrator's kubeconfig and client."""

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""

    @property
    def api(self) -> Api:
        """The administrator's client."""


class OperatorProcess:
    """One running operator; a context manager. Start it from the main thread, as the control plane."""

    def __init__(
        self,
        cluster: Cluster,
        namespaces: Sequence[str] | None,
        settings: Mapping[str, str] | None = None,
        *,
        system: str | None = None,
        server: str | None = None,
        lease: str | None = None,
        account: str | None = None,
        arguments: Sequence[str] = (),
        without: Sequence[str] = (),
        source: Path = SOURCE,
    ):
        """Plan an operator for some namespaces (None: all), with environment variables and arguments.

        `system` is the namespace of its ServiceAccount: by default the first of `namespaces`, or `default`.
        `server` is the address by which it finds the API server, if not the administrator's, and `lease` the
        namespace in which it has rights on a Lease, if not its own; `without` names resources on which it
        gets no rights. `account` is a ServiceAccount that is there already, with rights of its own: none are
        made then. `source` is the folder of the package that runs.
        """
        self.namespaces = list(namespaces) if namespaces is not None else None
        self.system = system or (self.namespaces[0] if self.namespaces else "default")
        self.name = account or f"operator-{uuid.uuid4().hex[:8]}"
        self._given = account is not None
        self.health_port = free_ports(1)[0]
        self._cluster = cluster
        self._server = server
        self._lease = lease or self.system
        self._settings = dict(settings or {})
        self._arguments = list(arguments)
        self._without = frozenset(without)
        self._source = source
        self._folder = tempfile.TemporaryDirectory(prefix=f"{self.name}-")
        self.path = Path(self._folder.name) / "operator.log"
        self._process: Process | None = None
        self._prepared = False

    def __enter__(self) -> "OperatorProcess":
        """Start the operator."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the operator and take back its rights."""
        self.close()

    @property
    def user(self) -> str:
        """The name under which the API server knows the operator."""
        return f"system:serviceaccount:{self.system}:{self.name}"

    @property
    def pid(self) -> int:
        """The operator's process id."""
        return self._started.pid

    @property
    def running(self) -> bool:
        """Whether the operator was started and has not ended."""
        return self._process is not None and self._process.running

    def start(self, wait: bool = True) -> None:
        """Start the operator, and wait until its /readyz answers 200 unless told not to."""
        if not self._prepared:
            self._prepare()
        self._process = Process("operator", self._command(), self.path, self._environment())
        self._process.start()
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout: float = READY_SECONDS) -> None:
        """Wait until the operator's /readyz answers 200; its log is in the error otherwise."""
        wait_until(self.ready, [self._started], timeout, "the operator is ready")

    def ready(self) -> bool:
        """Whether the operator's /readyz answers 200."""
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.health_port}/readyz", timeout=5.0, trust_env=False)
        except httpx.TransportError:
            return False
        return answer.status_code == httpx.codes.OK

    def stop(self, patience: float = 30.0) -> int | None:
        """End the operator with SIGTERM (SIGKILL after `patience` seconds) and return its exit code."""
        return self._process.stop(patience) if self._process else None

    def kill(self) -> int | None:
        """End the operator with SIGKILL, as an out-of-memory kill does."""
        return self._process.kill() if self._process else None

    def restart(self) -> int | None:
        """Stop the operator, start it again under the same identity, and return the first one's exit code."""
        code = self.stop()
        self.start()
        return code

    def close(self) -> None:
        """Stop the operator, take back its rights outside its namespaces, remove its log and kubeconfig."""
        self.stop()
        if self._prepared and not self._given:
            self._take_rights()
        self._folder.cleanup()

    def _take_rights(self) -> None:
        self.take_lease_rights()
        if self.namespaces is None:
            self._cluster.api.delete("ClusterRoleBinding", None, self.name, missing_ok=True)
            self._cluster.api.delete("ClusterRole", None, self.name, missing_ok=True)

    def take_lease_rights(self) -> None:
        """Take the rights on its Lease from the operator, and leave it all others."""
        self._cluster.api.delete("RoleBinding", self._lease, f"{self.name}-lease", missing_ok=True)
        self._cluster.api.delete("Role", self._lease, f"{self.name}-lease", missing_ok=True)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the operator."""
        self._started.signal(number)

    def wait_end(self, timeout: float = 60.0) -> int:
        """Wait until the operator has ended by itself, and return its exit code."""
        wait_until(lambda: not self.running, [], timeout, "the operator ends")
        return int(self._started.returncode or 0)

    def log(self) -> str:
        """Return all that the operator has said since the first start."""
        return self.path.read_text(errors="replace") if self.path.exists() else ""

    def tail(self, lines: int = 40) -> str:
        """Return the last lines of the operator's output."""
        return "\n".join(self.log().splitlines()[-lines:])

    @property
    def _started(self) -> Process:
        if self._process is None:
            raise RuntimeError("the operator was never started")
        return self._process

    @property
    def _kubeconfig(self) -> Path:
        return Path(self._folder.name) / "kubeconfig"

    def _command(self) -> list[str]:
        command = [sys.executable, "-m", "vllm_operator", "run", "--health-port", str(self.health_port)]
        for namespace in self.namespaces or []:
            command += ["--namespace", namespace]
        return command + self._arguments

    def _environment(self) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if key.lower() not in _NOT_INHERITED}
        paths = [str(self._source), *filter(None, [os.environ.get("PYTHONPATH")])]
        own = {"KUBECONFIG": str(self._kubeconfig), "PYTHONPATH": os.pathsep.join(paths)} | _UNASKED
        return inherited | own | self._settings

    def _prepare(self) -> None:
        api = self._cluster.api
        if not self._given:
            self._give_rights(api)
        connection = read_kubeconfig(self._cluster.kubeconfig).as_bearer(api.token(self.system, self.name))
        connection = replace(connection, server=self._server or connection.server, namespace=self.system)
        write_kubeconfig(self._kubeconfig, connection)
        self._prepared = True

    def _give_rights(self, api: Api) -> None:
        metadata = {"name": self.name, "namespace": self.system}
        api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
        rbac = shipped_rbac()
        rules = [rule for rule in rbac.policy_rules() if not self._without & set(rule["resources"])]
        for namespace in [None] if self.namespaces is None else self.namespaces:
            for obj in self._rights(namespace, self.name, rules):
                api.create(obj)
        for obj in self._rights(self._lease, f"{self.name}-lease", rbac.lease_rules()):
            api.create(obj)

    def _rights(
        self, namespace: str | None, name: str, rules: Sequence[Mapping[str, Any]]
    ) -> tuple[Object, Object]:
        role = "Role" if namespace else "ClusterRole"
        metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
        common = {"apiVersion": f"{RBAC}/v1", "metadata": metadata}
        binding = {
            "kind": f"{role}Binding",
            "roleRef": {"apiGroup": RBAC, "kind": role, "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": self.name, "namespace": self.system}],
        }
        return common | {"kind": role, "rules": [dict(rule) for rule in rules]}, common | binding


def shipped_rbac() -> Any:
    """Return the operator's module of rights; imported late, so that the harness works without it."""
    if str(SOURCE) not in sys.path:
        sys.path.insert(0, str(SOURCE))
    return importlib.import_module("vllm_operator.rbac")
