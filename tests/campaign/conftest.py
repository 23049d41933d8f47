"""The fixtures of the campaigns: the session's cluster, an operator, and what the base needs."""

from collections.abc import Iterator

import pytest

from tests.campaign.base import NODES
from tests.campaign.equipment import PREFIX, classes
from tests.harness import monitoring
from tests.harness.audit import Audit
from tests.harness.controlplane import ControlPlane
from tests.harness.fixtures import ForeignCluster, api, cluster, namespace
from tests.harness.operator import OperatorProcess

__all__ = ["api", "cluster", "furnished", "namespace"]

VOLUMES = 40


@pytest.fixture(scope="module")
def furnished(cluster: ControlPlane | ForeignCluster) -> Iterator[ControlPlane]:
    """The cluster, with classes and volumes for the base; all of it goes, with every namespace made."""
    if not isinstance(cluster, ControlPlane):
        pytest.fail("this test relies on played nodes and pods: it cannot run with --kubeconfig")
    cluster.ensure_volumes(VOLUMES)
    monitoring.install(cluster.api)
    made = [cluster.api.create(obj) for obj in classes(VOLUMES)]
    yield cluster
    for each in cluster.api.list("Namespace"):
        if each["metadata"]["name"].startswith(PREFIX):
            cluster.api.delete("Namespace", None, each["metadata"]["name"])
    monitoring.remove(cluster.api)
    for obj in made:
        cluster.api.delete(obj["kind"], None, obj["metadata"]["name"])


@pytest.fixture(scope="module")
def shared(cluster: ControlPlane | ForeignCluster) -> Iterator[OperatorProcess]:
    """A running operator for all namespaces, which is told of nodes with cards."""
    settings = {
        f"VLLM_OPERATOR_GAUDI_{generation.upper()}_NODES": ",".join(
            f"{key}={value}" for key, value in nodes.items()
        )
        for generation, nodes in NODES.items()
    }
    with OperatorProcess(cluster, None, settings) as process:
        yield process


@pytest.fixture(scope="module")
def audit_log(furnished: ControlPlane) -> Iterator[Audit]:
    """The API server's own record, for a whole module."""
    log = Audit(furnished.audit_log, furnished.api)
    yield log
    log.close()
