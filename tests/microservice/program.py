"""The microservice as a process of its own."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.harness.processes import Process

ROOT = Path(__file__).parents[2]


@dataclass
class Microservice:
    """A running `python -m llm_microservice`."""

    process: Process
    url: str

    def client(self, timeout: float = 60) -> httpx.Client:
        """A client for it."""
        return httpx.Client(base_url=self.url, timeout=timeout, trust_env=False)

    def chat(self, body: Mapping[str, Any], **more: Any) -> httpx.Response:
        """Send one request, and read its whole answer."""
        with self.client() as client:
            return client.post("/v1/chat/completions", json=body, **more)

    def health(self) -> httpx.Response:
        """Ask for its health."""
        with self.client() as client:
            return client.get("/v1/health_check")

    def up(self) -> bool:
        """Whether it listens; it does before vLLM is there."""
        try:
            return self.health().status_code in (200, 503)
        except httpx.TransportError:
            return False

    @property
    def log(self) -> list[dict[str, Any]]:
        """All lines of its log."""
        return [json.loads(line) for line in self.process.log.read_text().splitlines()]

    def metric(self, sample: str) -> float:
        """One sample of its metrics, by its name with its labels; 0 if it is not there."""
        with self.client() as client:
            lines = client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.rsplit(" ", 1)[0] == sample)


Launch = Callable[..., Microservice]


def command() -> list[str]:
    """How it is started."""
    return [sys.executable, "-m", "llm_microservice"]


def environment(endpoint: str, port: int, **settings: str) -> dict[str, str]:
    """Its whole environment."""
    return {
        "PYTHONPATH": str(ROOT / "operator"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LLM_MODEL_SERVER_ENDPOINT": endpoint,
        "LLM_MICROSERVICE_ADDRESS": "127.0.0.1",
        "LLM_USVC_PORT": str(port),
        # Whoever still reads variables for proxies goes nowhere.
        "HTTP_PROXY": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
        **settings,
    }


def events(body: str) -> list[str]:
    """What each event of a stream says, without the word `data`."""
    return [event.removeprefix("data: ") for event in body.split("\n\n") if event]


def request(body: Mapping[str, Any]) -> bytes:
    """A request as its client's bytes."""
    text = json.dumps(body).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: it\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(text)}\r\n\r\n".encode() + text
