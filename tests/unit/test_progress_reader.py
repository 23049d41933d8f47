"""When logs are read, and what is remembered of them."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.things import pod
from vllm_operator.api.seen import PodFacts, Progress
from vllm_operator.controller.cluster import Cluster
from vllm_operator.controller.outcome import ApiError
from vllm_operator.controller.progress import SECONDS, ProgressReader
from vllm_operator.controller.store import Key

KEY = Key("VLLMServer", "ns", "chat")


class Logs(Cluster):
    """Answers with a log of one line, or refuses."""

    def __init__(self) -> None:
        self.done = 1
        self.asked: list[tuple[str, str, str]] = []
        self.refuses: Exception | None = None

    async def last_lines(self, namespace: str, pod: str, container: str) -> str:
        self.asked.append((namespace, pod, container))
        if self.refuses:
            raise self.refuses
        return f"[Warmup][Prompt][{self.done}/36]" if self.done else ""


@pytest.fixture
def logs() -> Logs:
    return Logs()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("vllm_operator.controller.progress.time.monotonic", lambda: now[0])
    return now


def started(seconds_ago: float = 0) -> PodFacts:
    time = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return pod(ready=False, started_at=time.strftime("%Y-%m-%dT%H:%M:%SZ"))


async def test_a_log_is_read_every_twenty_seconds(logs: Logs, clock: list[float]) -> None:
    reader, starts = ProgressReader(logs, enabled=True), started()
    assert await reader.look(KEY, starts) == (None, SECONDS)
    clock[0] += SECONDS - 1
    assert await reader.look(KEY, starts) == (None, 1.0)
    assert logs.asked == []
    clock[0] += 1
    assert await reader.look(KEY, starts) == (Progress("Prompt", 1, 36), SECONDS)
    assert logs.asked == [("ns", "chat-1", "vllm")]
    clock[0] += SECONDS
    logs.done = 0
    assert (await reader.look(KEY, starts))[0] == Progress("Prompt", 1, 36), "other lines end nothing"


async def test_after_a_restart_of_the_operator_an_old_log_is_read_at_once(
    logs: Logs, clock: list[float]
) -> None:
    reader = ProgressReader(logs, enabled=True)
    assert await reader.look(KEY, started(seconds_ago=300)) == (Progress("Prompt", 1, 36), SECONDS)


async def test_another_start_of_the_same_pod_begins_anew(logs: Logs, clock: list[float]) -> None:
    reader = ProgressReader(logs, enabled=True)
    await reader.look(KEY, started(seconds_ago=300))
    assert await reader.look(KEY, started()) == (None, SECONDS)


async def test_nothing_is_read_where_nothing_starts_or_it_is_switched_off(
    logs: Logs, clock: list[float]
) -> None:
    assert await ProgressReader(logs, enabled=False).look(KEY, started(300)) == (None, None)
    reader = ProgressReader(logs, enabled=True)
    await reader.look(KEY, started(300))
    assert await reader.look(KEY, None) == (None, None)
    assert len(logs.asked) == 1


@pytest.mark.parametrize("error", [ApiError(403, "no"), OSError("no route"), TimeoutError()], ids=repr)
async def test_a_log_that_cannot_be_read_is_asked_for_as_seldom(
    logs: Logs, clock: list[float], error: Exception
) -> None:
    logs.refuses = error
    reader, starts = ProgressReader(logs, enabled=True), started(300)
    for _ in range(5):
        assert (await reader.look(KEY, starts))[0] is None
    assert len(logs.asked) == 1
