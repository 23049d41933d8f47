"""A whole Kubernetes control plane on loopback, for one test session."""

import atexit
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.harness import components, equipment
from tests.harness.api import Api, ApiError, Object
from tests.harness.processes import Process, free_ports, wait_until

START_SECONDS = 120.0


class ControlPlane:
    """etcd, API server, controller manager, scheduler and kwok's fake nodes; a context manager.

    Start it from the main thread: the children die with the thread that started them.
    """

    def __init__(self, nodes: int = 2, shape: equipment.NodeShape | None = None, volumes: int = 20):
        """Plan `nodes` fake nodes of a shape, and `volumes` PersistentVolumes of each storage class."""
        self._nodes = nodes
        self._volumes = volumes
        self._shape = shape or equipment.NodeShape()
        self._named = 0
        self._layout: components.Layout | None = None
        self._api: Api | None = None
        self.processes: list[Process] = []
        self.seconds_to_ready = 0.0

    def __enter__(self) -> "ControlPlane":
        """Start everything."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything."""
        self.stop()

    @property
    def folder(self) -> Path:
        """The folder of all state and logs; it goes away at the stop."""
        return self._placed.folder

    @property
    def url(self) -> str:
        """The API server's address."""
        return self._placed.url

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self._placed.kubeconfig("admin")

    @property
    def audit_log(self) -> Path:
        """The API server's audit log."""
        return self._placed.audit_log

    @property
    def api(self) -> Api:
        """The administrator's client."""
        if self._api is None:
            raise RuntimeError("the control plane is not running")
        return self._api

    def start(self) -> None:
        """Start everything and return when pods can run."""
        begin = time.monotonic()
        folder = Path(tempfile.mkdtemp(prefix="control-plane-"))
        self._layout = components.Layout(folder, *free_ports(4))
        atexit.register(self.stop)
        try:
            self._start(self._layout)
        except BaseException:
            self.stop()
            raise
        self.seconds_to_ready = time.monotonic() - begin

    def stop(self) -> None:
        """Stop the clients before the servers, and remove the folder; a second call does nothing."""
        atexit.unregister(self.stop)
        if self._api is not None:
            self._api.close()
            self._api = None
        for process in reversed(self.processes):
            # Nothing is worth waiting for an orderly end of watches: all state is thrown away.
            process.stop(patience=2.0)
        self.processes = []
        if self._layout is not None:
            shutil.rmtree(self._layout.folder, ignore_errors=True)

    def add_nodes(self, count: int, shape: equipment.NodeShape | None = None) -> list[str]:
        """Add fake nodes and return their names; pods can land there once `wait_for_nodes` returns."""
        first, self._named = self._named, self._named + count
        names = [f"gaudi-{first + index}" for index in range(count)]
        port = self._placed.kubelet_port
        self._create(equipment.node(name, shape or self._shape, port) for name in names)
        return names

    def write_log(self, container: str, *lines: str) -> None:
        """Let all containers of a name (`components.LOGGED`) have said these lines; none: there is no log."""
        path = self._placed.container_log(container)
        path.unlink(missing_ok=True)
        if lines:
            # The form in which a container runtime keeps logs; a carriage return is within a line.
            path.write_text("".join(f"2026-01-01T00:00:00.000000000Z stdout F {line}\n" for line in lines))

    def wait_for_nodes(self, timeout: float = START_SECONDS) -> None:
        """Wait until no node keeps pods off with a taint."""

        def open_for_pods() -> bool:
            return not any(node["spec"].get("taints") for node in self.api.list("Node"))

        wait_until(open_for_pods, self.processes, timeout, "nodes without taints")

    def add_volumes(self, count: int, storage_class: str) -> None:
        """Add PersistentVolumes of a class (`immediate` or `wait`), of 100Gi, 1Ti and 10Ti in turn."""
        prefix = f"{storage_class}-{uuid.uuid4().hex[:8]}"
        self._create(equipment.volumes(count, storage_class, prefix))

    def ensure_volumes(self, available: int | None = None) -> None:
        """Drop volumes of deleted claims; fill each class up to `available` (default: as at the start)."""
        wanted = self._volumes if available is None else available
        free = dict.fromkeys(equipment.STORAGE_CLASSES, 0)
        for volume in self.api.list("PersistentVolume"):
            phase = volume.get("status", {}).get("phase")
            if phase == "Released":
                self.api.delete("PersistentVolume", None, volume["metadata"]["name"], missing_ok=True)
            elif phase != "Bound":
                free[volume["spec"]["storageClassName"]] += 1
        for name, count in free.items():
            if count < wanted:
                self.add_volumes(wanted - count, name)

    @property
    def _placed(self) -> components.Layout:
        if self._layout is None:
            raise RuntimeError("the control plane was never started")
        return self._layout

    def _start(self, layout: components.Layout) -> None:
        self._launch(components.etcd(layout))
        components.write_certificates(layout)
        self._launch(components.api_server(layout))
        self._api = Api(self.kubeconfig)
        wait_until(self._server_ready, self.processes, START_SECONDS, "the API server is ready")
        for describe in (components.controller_manager, components.scheduler, components.kwok):
            self._launch(describe(layout))
        self.add_nodes(self._nodes)
        self._create(equipment.storage_classes())
        for name in equipment.STORAGE_CLASSES:
            self.add_volumes(self._volumes, name)
        wait_until(self._accounts_made, self.processes, START_SECONDS, "the controller manager works")
        self.wait_for_nodes()

    def _launch(self, process: Process) -> None:
        self.processes.append(process)
        process.start()

    def _server_ready(self) -> bool:
        try:
            self.api.request("GET", "/readyz")
        except (httpx.TransportError, ApiError):
            return False
        return True

    def _accounts_made(self) -> bool:
        return self.api.get("ServiceAccount", "default", "default") is not None

    def _create(self, objects: Iterable[Object]) -> None:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(self.api.create, objects))
