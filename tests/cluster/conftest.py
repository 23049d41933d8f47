"""The fixtures of all tests that need a cluster, and the option to bring one."""

from collections.abc import Iterator

import pytest

from tests.harness.controlplane import ControlPlane
from tests.harness.fixtures import ForeignCluster, api, audit, cluster, namespace, operator
from tests.harness.operator import OperatorProcess

__all__ = ["api", "audit", "cluster", "namespace", "operator", "shared"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add options, which pytest knows only when this folder is on its command line."""
    parser.addoption("--kubeconfig", default=None, help="use this cluster instead of starting one")
    parser.addoption(
        "--fuzz-examples", type=int, default=300, help="servers at random that test_fuzz.py makes"
    )


@pytest.fixture(scope="module")
def shared(cluster: ControlPlane | ForeignCluster) -> Iterator[OperatorProcess]:
    """A running operator for all namespaces, one for all tests of a module.

    A module uses either this one or `operator`: two operators would both look after a test's namespace.
    """
    with OperatorProcess(cluster, None) as process:
        yield process
