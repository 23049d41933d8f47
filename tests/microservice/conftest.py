"""What the tests of the microservice share: it as a process of its own, and a stand-in for vLLM."""

from collections.abc import Iterator, Sequence

import pytest

from tests.harness.processes import Process, free_ports, wait_until
from tests.microservice.program import Launch, Microservice, command, environment
from tests.microservice.standin import StandIn


@pytest.fixture(scope="session")
def launch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """Start one by these words for this endpoint, with these settings; it is up then, and gone at the end."""
    started: list[Process] = []

    def start(endpoint: str, words: Sequence[str] = command(), **settings: str) -> Microservice:
        (port,) = free_ports(1)
        log = tmp_path_factory.mktemp("microservice") / "log"
        process = Process("microservice", words, log, environment(endpoint, port, **settings))
        started.append(process)
        process.start()
        service = Microservice(process, f"http://127.0.0.1:{port}")
        wait_until(service.up, [process], 60, "it listens")
        return service

    yield start
    for process in started:
        process.kill()


@pytest.fixture(scope="module")
def standin() -> Iterator[StandIn]:
    """A stand-in for vLLM."""
    with StandIn() as standin:
        yield standin


@pytest.fixture(scope="module")
def service(launch: Launch, standin: StandIn) -> Microservice:
    """A microservice before that stand-in, set up as one is by default."""
    return launch(standin.url)
