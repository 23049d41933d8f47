"""Fixtures for every folder of tests that needs a cluster; a conftest.py imports them by name."""

import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.api import Api
from tests.harness.audit import Audit
from tests.harness.controlplane import ControlPlane
from tests.harness.crds import apply_crds
from tests.harness.operator import OperatorProcess

RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}


class ForeignCluster:
    """A cluster that the tests did not start, reached by its kubeconfig."""

    audit_log = None

    def __init__(self, kubeconfig: Path):
        """Connect to the kubeconfig's current context."""
        self.kubeconfig = kubeconfig
        self.api = Api(kubeconfig)
        self.url = self.api.url


_running = pytest.StashKey[ControlPlane | ForeignCluster]()


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> ControlPlane | ForeignCluster:
    """The cluster of this session with the repository's CRDs: ours, or the one of `--kubeconfig`.

    All conftest.py files that import this fixture share one cluster; it is stopped when pytest ends.
    """
    config = request.config
    if _running not in config.stash:
        path = config.getoption("--kubeconfig", default=None)
        config.stash[_running] = _connect(config, Path(path)) if path else _start(config)
        apply_crds(config.stash[_running].api)
    return config.stash[_running]


@pytest.fixture
def api(cluster: ControlPlane | ForeignCluster) -> Api:
    """The administrator's client."""
    return cluster.api


@pytest.fixture
def namespace(cluster: ControlPlane | ForeignCluster) -> Iterator[str]:
    """A fresh namespace that admits restricted pods only; its deletion is not waited for."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    if isinstance(cluster, ControlPlane):
        cluster.ensure_volumes()
    cluster.api.create(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}}
    )
    yield name
    cluster.api.delete("Namespace", None, name, missing_ok=True)


@pytest.fixture
def audit(cluster: ControlPlane | ForeignCluster) -> Iterator[Audit]:
    """The API server's own record of who asked for what."""
    if cluster.audit_log is None:
        pytest.fail("this test reads the API server's audit log: it cannot run with --kubeconfig")
    log = Audit(cluster.audit_log, cluster.api)
    yield log
    log.close()


@pytest.fixture
def operator(cluster: ControlPlane | ForeignCluster, namespace: str) -> Iterator[OperatorProcess]:
    """A running operator for the test's namespace."""
    with OperatorProcess(cluster, [namespace]) as process:
        yield process


@pytest.fixture(scope="module")
def shared(cluster: ControlPlane | ForeignCluster) -> Iterator[OperatorProcess]:
    """A running operator for all namespaces, one for all tests of a module.

    A module uses either this one or `operator`: two operators would both look after a test's namespace.
    """
    with OperatorProcess(cluster, None) as process:
        yield process


def _start(config: pytest.Config) -> ControlPlane:
    # A plain SIGTERM would end Python without any clean-up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    plane = ControlPlane()
    config.add_cleanup(plane.stop)
    plane.start()
    return plane


def _connect(config: pytest.Config, kubeconfig: Path) -> ForeignCluster:
    foreign = ForeignCluster(kubeconfig)
    config.add_cleanup(foreign.api.close)
    return foreign
