"""The fixtures of all tests that need a cluster, and the option to bring one."""

import pytest

from tests.harness.fixtures import api, audit, cluster, namespace, operator, shared

__all__ = ["api", "audit", "cluster", "namespace", "operator", "shared"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add options, which pytest knows only when this folder is on its command line."""
    parser.addoption("--kubeconfig", default=None, help="use this cluster instead of starting one")
    parser.addoption(
        "--fuzz-examples", type=int, default=300, help="servers at random that test_fuzz.py makes"
    )
