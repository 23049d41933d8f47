"""`python -m tests.bench.streams`: many streams at once through one microservice, memory and CPU time."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.result import Result
from tests.harness.processes import Process, free_ports, wait_until
from tests.microservice import crowd
from tests.microservice.program import Microservice, command, environment
from tests.microservice.standin import StandIn

TOKENS = 100
KIB_PER_STREAM = 128
"""Memory for a stream that stands open, with its two connections."""


def main() -> int:
    """Run it; 1 when a stream was lost or memory is over its budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1000)
    streams = crowd.files_allowed(parser.parse_args().streams)
    result = Result()
    with tempfile.TemporaryDirectory() as folder, StandIn() as standin:
        (port,) = free_ports(1)
        settings = {"LLM_MICROSERVICE_MAX_CONCURRENCY": str(streams)}
        surroundings = environment(standin.url, port, **settings)
        process = Process("microservice", command(), Path(folder) / "log", surroundings)
        service = Microservice(process, f"http://127.0.0.1:{port}")
        process.start()
        try:
            wait_until(service.up, [process], 60, "it listens")
            for turn in ("First", "Second"):
                measure(result, turn, service, standin, streams)
        finally:
            process.kill()
    for violation in result.violations:
        print(f"over budget: {violation}", file=sys.stderr)
    return 1 if result.violations else 0


def measure(result: Result, turn: str, service: Microservice, standin: StandIn, streams: int) -> None:
    """One crowd, and its figures."""
    began = time.monotonic()
    seen = crowd.run(service, standin, streams, TOKENS)
    seconds = time.monotonic() - began
    tokens = sum(seen.tokens)
    figures = {
        "streams": streams,
        "open at the same time": seen.at_once,
        "came to their end with all of their tokens": seen.tokens.count(TOKENS),
        "tokens": tokens,
        "seconds": seconds,
        "CPU seconds of the microservice": seen.cpu,
        "CPU microseconds a token": seen.cpu / tokens * 1e6,
        "memory before, MiB": seen.rest / 2**20,
        "memory with all open, MiB": seen.held / 2**20,
        "most memory, MiB": seen.peak / 2**20,
        "KiB a stream": (seen.held - seen.rest) / streams / 1024,
    }
    result.add(f"{turn} {streams} streams of {TOKENS} tokens", figures)
    if seen.tokens.count(TOKENS) < streams:
        result.demand([f"{streams - seen.tokens.count(TOKENS)} streams were cut short"])
    if seen.held - seen.rest > streams * KIB_PER_STREAM * 1024:
        result.demand([f"more than {KIB_PER_STREAM} KiB a stream"])


if __name__ == "__main__":
    sys.exit(main())
