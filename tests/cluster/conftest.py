"""The fixtures of all tests that need a cluster, and the option to bring one."""

from collections.abc import Iterator

import pytest

from tests.cluster.pool import Pool
from tests.harness.controlplane import ControlPlane
from tests.harness.fixtures import ForeignCluster, api, audit, cluster, namespace, operator
from tests.harness.operator import OperatorProcess

__all__ = ["api", "audit", "cluster", "namespace", "operator", "pool", "shared"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--kubeconfig`, which pytest knows only when this folder is on its command line."""
    parser.addoption("--kubeconfig", default=None, help="use this cluster instead of starting one")


@pytest.fixture(scope="module")
def shared(cluster: ControlPlane | ForeignCluster) -> Iterator[OperatorProcess]:
    """A running operator for all namespaces, one for all tests of a module.

    A module uses either this one or `operator`: two operators would both look after a test's namespace.
    """
    with OperatorProcess(cluster, None) as process:
        yield process


@pytest.fixture
def pool(cluster: ControlPlane | ForeignCluster) -> Iterator[Pool]:
    """Fake nodes of this test alone; pods that select the pool's label run there, and no others."""
    if not isinstance(cluster, ControlPlane):
        pytest.fail("this test adds nodes of its own: it cannot run with --kubeconfig")
    with Pool(cluster) as nodes:
        yield nodes
