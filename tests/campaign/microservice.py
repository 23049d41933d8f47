"""Rows of the leaf table for `microservice`. None of them makes a pod of the server anew."""

from collections.abc import Iterator
from dataclasses import replace

from tests.campaign.table import GONE, Row, row
from tests.cases.table import REMOVED
from vllm_operator.config import OWN_IMAGE

CONTAINER = "llm.pod.containers.0"
NONE = {
    **{"llm": GONE, "llm-service": GONE, "llm-budget": GONE, "llm-policy": GONE},
    # The peer that lets it in, after the two that are given.
    "policy.spec.ingress.0.from.2": GONE,
}


def microservice() -> Iterator[Row]:
    """`microservice`."""
    for value in (False, REMOVED):
        yield row({"microservice.enabled": value}, NONE)
    yield row({"microservice.replicas": 3}, {"llm.spec.replicas": 3})
    yield row({"microservice.replicas": REMOVED}, {"llm.spec.replicas": 1, "llm-budget": GONE})
    other = "registry.example/operator:v2"
    yield row({"microservice.image": other}, {f"{CONTAINER}.image": other})
    yield row({"microservice.image": REMOVED}, {f"{CONTAINER}.image": OWN_IMAGE})
    yield row({"microservice.connector": "langchain"}, {f"{CONTAINER}.env.2.value": "langchain"})
    yield row({"microservice.connector": REMOVED})  # it was the default
    for port, shown in ((9200, 9200), (REMOVED, 9000)):
        yield row({"microservice.port": port}, {"llm-service.spec.ports.0.port": shown})
    yield row({"microservice": REMOVED}, NONE, leaf="spec.microservice.enabled")
    amounts = f"{CONTAINER}.resources"
    for side in ("limits", "requests"):
        leaf = f"spec.microservice.resources.{side}.*"
        yield row({f"microservice.resources.{side}.cpu": 1}, {f"{amounts}.{side}.cpu": "1"}, leaf=leaf)
        yield row({f"microservice.resources.{side}.cpu": REMOVED}, {f"{amounts}.{side}.cpu": GONE}, leaf=leaf)


def rows() -> list[Row]:
    """Every row."""
    return [replace(each, base="microservice") for each in microservice()]
