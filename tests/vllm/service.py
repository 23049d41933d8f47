"""What stands for a Service: a port of loopback that leads to a pod."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.harness.processes import Process, wait_until
from tests.vllm.pod import ROOT, Pod


@contextmanager
def bridged(port: int, pod: Pod) -> Iterator[Process]:
    """Lead from a port to this pod, which answers; killed, it breaks connections."""
    words = [sys.executable, "-m", "tests.vllm.programs.bridge", str(port), str(pod.socket)]
    bridge = Process("bridge", words, pod.process.log.with_name("bridge.log"), {"PYTHONPATH": str(ROOT)})
    bridge.start()
    try:
        wait_until(lambda: _reached(port), [bridge], 60, "the pod is reached")
        yield bridge
    finally:
        bridge.kill()


def _reached(port: int) -> bool:
    try:
        # Whatever is answered.
        httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False, timeout=60)
    except httpx.TransportError:
        return False
    return True
