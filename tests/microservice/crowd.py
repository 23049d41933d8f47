"""Many streams at once through one microservice."""

import asyncio
import json
import resource
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.bench.machine import cpu_seconds, resident_bytes
from tests.microservice.program import Microservice
from tests.microservice.standin import StandIn

DONE = b"data: [DONE]\n\n"
END = b"0\r\n\r\n"
PAIR = {"messages": {"system": "Be brief.", "user": "Who are you?"}, "streaming": True}


@dataclass
class Crowd:
    """What became of so many streams of so many tokens."""

    tokens: list[int] = field(default_factory=list)
    """Tokens that each stream that came to its end has brought."""
    at_once: int = 0
    """How many vLLM was answering when none had ended."""
    rest: int = 0
    """Memory of the microservice before, in bytes."""
    held: int = 0
    """Memory while all streams stand open."""
    peak: int = 0
    """The most that it has had."""
    cpu: float = 0.0
    """Seconds of a processor from the first request to the last token."""


def files_allowed(wanted: int) -> int:
    """Raise the limit of open files of this process as far as needed; how many streams fit."""
    needed = 2 * wanted + 256
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        soft = min(needed, hard) if hard != resource.RLIM_INFINITY else needed
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(wanted, (soft - 256) // 2)


def run(service: Microservice, standin: StandIn, streams: int, tokens: int) -> Crowd:
    """Open so many streams, let all stand open at the same time, and read all of their tokens."""
    return asyncio.run(_run(service, standin, streams, tokens))


async def _run(service: Microservice, standin: StandIn, streams: int, tokens: int) -> Crowd:
    pid = service.process.pid
    crowd = Crowd(rest=resident_bytes(pid))
    standin.hold.clear()
    script = {"tokens": tokens, "size": 5, "fault": "hold", "after": tokens // 2}
    began = cpu_seconds(pid)
    reading = [asyncio.create_task(_read(service, PAIR | {"standin": script})) for _ in range(streams)]
    await _until(lambda: standin.running == streams or any(task.done() for task in reading))
    crowd.at_once, crowd.held = standin.running, resident_bytes(pid)
    standin.hold.set()
    crowd.tokens = await asyncio.gather(*reading)
    crowd.peak, crowd.cpu = peak_bytes(pid), cpu_seconds(pid) - began
    return crowd


async def _read(service: Microservice, body: dict[str, Any]) -> int:
    """Read a stream to its end, and count its tokens. Raises AssertionError if it is cut short."""
    url = httpx.URL(service.url)
    text = json.dumps(body).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: it\r\nContent-Type: application/json\r\n"
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        writer.write(f"{head}Connection: close\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)
        answer = await reader.read(-1)
    finally:
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200"), answer[:1000]
    assert DONE in answer, answer[-1000:]
    assert answer.endswith(END), answer[-1000:]
    return answer.count(b"data: 'xxxxx'\n\n")


async def _until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(300):
        while not check():
            await asyncio.sleep(0.02)


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024
