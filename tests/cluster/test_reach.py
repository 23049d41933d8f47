"""One namespace that is closed to the operator keeps nothing from the others."""

import uuid
from collections.abc import Iterator

import pytest

from tests.cluster import support
from tests.harness.api import Api
from tests.harness.fixtures import RESTRICTED
from tests.harness.operator import Cluster, OperatorProcess

END_SECONDS = 120.0
"""kopf asks again for a minute before it gives up."""


@pytest.fixture
def other(api: Api) -> Iterator[str]:
    """A second namespace."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}})
    yield name
    api.delete("Namespace", None, name, missing_ok=True)


def test_a_closed_namespace_is_left_out_until_it_is_open(
    cluster: Cluster, api: Api, namespace: str, other: str
) -> None:
    with OperatorProcess(cluster, [namespace, other]) as operator:
        operator.stop()
        binding = support.child(api, other, "RoleBinding", operator.name)
        api.delete("RoleBinding", other, operator.name)
        operator.start()
        assert f"{other} is left out until the operator may list what is in it: " in operator.log()
        for place in (namespace, other):
            support.put(api, support.server(place))
        support.wait_serving(api, namespace)
        assert support.children(api, other) == {}
        metadata = {"name": operator.name, "namespace": other}
        api.create(binding | {"metadata": metadata})
        assert operator.wait_end() == 0, operator.tail()
        assert f"open by now: {other}; starting anew" in operator.log()
        operator.start()
        support.wait_serving(api, other)


def test_an_operator_that_may_not_watch_ends_and_says_what(cluster: Cluster) -> None:
    """It once hung instead, deaf to SIGTERM: asyncio waits for watchers that do not end."""
    operator = OperatorProcess(cluster, None, without=["services"])
    try:
        operator.start(wait=False)
        assert operator.wait_end(END_SECONDS) == 1
        assert "a part of the operator has ended, and so it ends" in operator.log()
        assert "services is forbidden" in operator.log()
    finally:
        operator.close()
