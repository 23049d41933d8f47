"""A thousand streams at once: none is lost, and memory is bounded by how many there are."""

import resource

from tests.harness.processes import wait_until
from tests.microservice import crowd
from tests.microservice.program import Launch
from tests.microservice.standin import StandIn

STREAMS = 1000
TOKENS = 20


def test_a_thousand_streams(launch: Launch) -> None:
    with StandIn() as standin:
        service = launch(standin.url)
        allowed = crowd.files_allowed(STREAMS)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        assert allowed == STREAMS, f"the hard limit of open files is {hard}, which does for {allowed} streams"
        first = crowd.run(service, standin, STREAMS, TOKENS)
        assert first.at_once == STREAMS
        assert first.tokens == [TOKENS] * STREAMS
        # 128 KiB for a stream that stands open, with its two connections.
        assert first.held - first.rest < STREAMS * 128 * 1024
        wait_until(lambda: service.metric("llm_microservice_requests_running") == 0, [], 30, "nothing runs")
        # What the first thousand has left behind does for the second: nothing leaks.
        second = crowd.run(service, standin, STREAMS, TOKENS)
        assert second.tokens == [TOKENS] * STREAMS
        assert second.peak - first.peak < STREAMS * 16 * 1024
        wait_until(lambda: service.metric("llm_microservice_requests_running") == 0, [], 30, "nothing runs")
        assert service.metric('llm_microservice_requests_total{code="200",form="guide"}') == 2 * STREAMS
        assert [line for line in service.log if line["level"] != "INFO"] == []
