"""A real vLLM has every metric that dashboards, alerts and autoscalers speak of."""

from collections.abc import Callable, Iterator

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.harness import promql
from tests.vllm.cases import MODEL, Case
from tests.vllm.pod import Pod

CASE = Case(
    "metered", {"model": {"name": MODEL, "revision": "main", "servedNames": ["tiny"], "offline": True}}
)
OF_SERVERS = ("vllm:", "http_")
LOAD = "vllm:num_requests_waiting"
"""What an autoscaler looks at, where it is told nothing else."""


@pytest.fixture(scope="module")
def families(start: Callable[[Case], Pod]) -> Iterator[list[Metric]]:
    """The metrics of a server that has answered one request and refused another."""
    with start(CASE) as pod:
        pod.wait_ready()
        with pod.client() as client:
            body = {"model": "tiny", "prompt": "The quick", "max_tokens": 8, "ignore_eos": True}
            assert client.post("/v1/completions", json=body).status_code == 200
            assert client.post("/v1/completions", json=body | {"model": "none"}).status_code == 404
            yield list(text_string_to_metric_families(client.get("/metrics").text))


@pytest.fixture(scope="module")
def series(families: list[Metric]) -> set[str]:
    return {sample.name for family in families for sample in family.samples}


def asked() -> set[str]:
    """The names of a server's series in all queries."""
    queries = [*promql.of_dashboards(), *promql.of_alerts()]
    names = {name for query in queries for name in query.names}
    return {name for name in names if name.startswith(OF_SERVERS)} | {LOAD}


def test_what_queries_ask_for_is_there(series: set[str]) -> None:
    names = asked()
    assert len(names) > 10
    assert names <= series


def test_the_list_that_queries_are_checked_against_is_what_it_has(families: list[Metric]) -> None:
    """Each metric of the list is there, with its type and its labels, and there is no other."""
    listed = [line for line in promql.OF_VLLM.read_text().splitlines() if not line.startswith("#")]
    found = []
    for family in families:
        if not family.name.startswith(OF_SERVERS) or family.name.endswith("_created"):
            continue
        labels = {label for sample in family.samples for label in sample.labels} - {"le", "quantile"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        # What vllm:cache_config_info says of the settings stands in its many labels.
        told = "" if name == "vllm:cache_config_info" else ",".join(sorted(labels))
        found.append(f"{name} {family.type} {told}".rstrip())
    assert sorted(found) == sorted(listed)


def test_answers_and_errors_are_told_apart(families: list[Metric]) -> None:
    """The alert on errors and its dashboard go by these words."""
    told = {
        sample.labels["status"]: sample.value
        for family in families
        for sample in family.samples
        if sample.name == "http_requests_total" and sample.labels["handler"] == "/v1/completions"
    }
    assert told == {"2xx": 1, "4xx": 1}
