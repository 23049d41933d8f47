"""One pod: started, probed and deleted as a kubelet does it, from a rendered template."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.harness.processes import GUARD, Process, children_of, wait_until
from tests.vllm.kubelet import LEAST_GRACE_SECONDS, Prober, last_words
from tests.vllm.sandbox import POD_IP, Image, Outside, Sandbox

ROOT = Path(__file__).parents[2]
PROXY = Path(__file__).parent / "programs" / "proxy.py"
PATIENCE = 120
"""Seconds until a container is ready that has no startup probe."""
CONNECT = """
import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3])).close()
"""


@dataclass(frozen=True)
class End:
    """How a container ended."""

    exit_code: int
    killed: bool
    """Whether the grace period was over before it ended by itself."""


class Pod:
    """A pod of a rendered template; as a context manager it is gone at the end, whatever happens."""

    def __init__(self, template: Mapping[str, Any], outside: Outside, image: Image, scratch: Path):
        """Lay out what it needs in `scratch`."""
        scratch.mkdir(parents=True)
        self.outside = outside
        self.volumes = scratch / "volumes"
        self._sandbox = Sandbox(template, outside, image, scratch)
        self._container = self._sandbox.container
        self._ports = {port["name"]: port["containerPort"] for port in self._container["ports"]}
        self.process = Process(self._container["name"], self._sandbox.command(), scratch / "log")
        # A path of a unix socket has at most 107 bytes, and scratch folders of pytest are deep.
        self.socket = Path(f"/tmp/pod-{os.getpid()}-{id(self):x}")
        """Leads to its port, for whoever is outside."""
        self._ways: list[Process] = []
        ask, budget = self._ask, self._container.get("startupProbe")
        self.startup = Prober("startup", budget, ask, once=True) if budget else None
        self.readiness = Prober("readiness", self._container["readinessProbe"], ask, self.startup)
        self.liveness = Prober("liveness", self._container["livenessProbe"], ask, self.startup)
        self._probers = [each for each in (self.startup, self.readiness, self.liveness) if each]

    def __enter__(self) -> Self:
        """Start the container and its probes."""
        try:
            self.process.start()
            wait_until(lambda: bool(self._inner()), [self.process], 30, "its container has started")
            self._reach_it()
            for prober in self._probers:
                prober.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End whatever is left."""
        self._end()

    @property
    def log(self) -> str:
        """All that the container has said."""
        return self.process.log.read_text(errors="replace")

    @property
    def last_words(self) -> str:
        """What the kubelet keeps of the log."""
        if self._container["terminationMessagePolicy"] != "FallbackToLogsOnError":
            return ""
        return last_words(self.process.log.read_bytes())

    def client(self, timeout: float = 600) -> httpx.Client:
        """A client for the pod's address."""
        transport = httpx.HTTPTransport(uds=str(self.socket))
        return httpx.Client(transport=transport, base_url=f"http://{POD_IP}", timeout=timeout)

    def wait_ready(self) -> None:
        """Wait for the readiness probe, as long as the startup probe allows."""
        budget = self._container.get("startupProbe")
        patience = (budget["failureThreshold"] + 2) * budget["periodSeconds"] if budget else PATIENCE

        def ready() -> bool:
            if self.liveness.result is False or (self.startup and self.startup.result is False):
                raise RuntimeError(f"the kubelet would start it again; its output ends:\n{self.last_words}")
            return self.readiness.result is True

        wait_until(ready, [self.process], patience, "it was ready")

    def wait_end(self, timeout: float) -> int:
        """Wait until the container ends by itself; its exit code."""
        wait_until(lambda: not self.process.running, [], timeout, f"{self.process.name} has ended")
        return self.process.returncode or 0

    @property
    def pause(self) -> int:
        """Seconds between the deletion and SIGTERM."""
        return int(self._container["lifecycle"]["preStop"]["sleep"]["seconds"])

    def delete(self, before_sigterm: Callable[[], None] = lambda: None) -> End:
        """Delete the pod: preStop, SIGTERM, and SIGKILL when the grace period is over.

        While it goes only readiness is probed (k8s.io/kubernetes v1.36.3, pkg/kubelet/prober/worker.go).
        """
        for prober in self._probers:
            if prober is not self.readiness:
                prober.stop()
        grace = self._sandbox.spec["terminationGracePeriodSeconds"]
        time.sleep(min(self.pause, grace))
        left = max(grace - self.pause, LEAST_GRACE_SECONDS)
        before_sigterm()
        self.terminate()
        try:
            return End(self.wait_end(left), killed=False)
        except TimeoutError:
            self._end()
            return End(self.process.returncode or 0, killed=True)

    def terminate(self) -> None:
        """Send SIGTERM."""
        os.kill(self._inner(), signal.SIGTERM)

    def _inner(self) -> int:
        """Process 1 of the container, as seen from outside; 0 while there is none."""
        return next((pid for pid in children_of(self.process.pid)), 0)

    def lead(self, port: int, outside: Path) -> None:
        """Lead from a port of its loopback to a socket outside, whoever is behind that, now or later."""
        self._add_way("bridge", ["-m", "tests.vllm.programs.bridge", str(port), str(outside)])

    def _reach_it(self) -> None:
        self._add_way("proxy", ["-I", "-S", str(PROXY), str(self.socket), POD_IP, str(self._ports["http"])])
        wait_until(self.socket.exists, self._ways, 30, "its socket is there")

    def _add_way(self, name: str, words: list[str]) -> None:
        guard = [sys.executable, "-I", "-S", str(GUARD), str(os.getpid())]
        command = ["/usr/bin/env", *self._inside(), *guard, sys.executable, *words]
        log = self.process.log.with_name(f"{name}.log")
        way = Process(name, command, log, {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)})
        self._ways.append(way)
        way.start()

    def _inside(self) -> list[str]:
        """Words before those of a program that is to run in its network."""
        return ["nsenter", f"--target={self._inner()}", "--net"]

    def _ask(self, probe: Mapping[str, Any]) -> bool:
        timeout = probe.get("timeoutSeconds", 1)
        target = probe.get("httpGet") or probe["tcpSocket"]
        if self._ports.get(target["port"], target["port"]) != self._ports["http"]:
            raise LookupError(f"a probe asks port {target['port']}, which nobody has named")
        if "tcpSocket" in probe:
            return self._connects(timeout)
        try:
            with self.client(timeout) as client:
                return client.get(target["path"]).status_code in range(200, 400)
        except httpx.HTTPError:
            return False

    def _connects(self, timeout: float) -> bool:
        """Whether its port takes a connection: of the socket that leads to it this cannot be told."""
        words = [sys.executable, "-I", "-S", "-c", CONNECT, POD_IP, str(self._ports["http"]), str(timeout)]
        done = subprocess.run([*self._inside(), *words], capture_output=True, check=False)
        return done.returncode == 0

    def _end(self) -> None:
        for prober in self._probers:
            prober.stop()
        for prober in self._probers:
            if prober.ident is not None:
                prober.join()
        # Killed, process 1 takes its whole namespace with it, and bubblewrap ends after it.
        if self.process.running and (inner := self._inner()):
            os.kill(inner, signal.SIGKILL)
            wait_until(lambda: not self.process.running, [], 60, "the container is gone")
        self.process.kill()
        for way in self._ways:
            way.kill()
        self.socket.unlink(missing_ok=True)
