"""The fixtures of all tests that need a cluster, and the option to bring one."""

from collections.abc import Iterator

import pytest

from tests.cluster.pool import Pool
from tests.harness.controlplane import ControlPlane
from tests.harness.fixtures import ForeignCluster, api, audit, cluster, namespace, operator, shared

__all__ = ["api", "audit", "cluster", "namespace", "operator", "pool", "shared"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add options, which pytest knows only when this folder is on its command line."""
    parser.addoption("--kubeconfig", default=None, help="use this cluster instead of starting one")
    parser.addoption(
        "--fuzz-examples", type=int, default=300, help="servers at random that test_fuzz.py makes"
    )


@pytest.fixture
def pool(cluster: ControlPlane | ForeignCluster) -> Iterator[Pool]:
    """Fake nodes of this test alone; pods that select the pool's label run there, and no others."""
    if not isinstance(cluster, ControlPlane):
        pytest.fail("this test adds nodes of its own: it cannot run with --kubeconfig")
    with Pool(cluster) as nodes:
        yield nodes
