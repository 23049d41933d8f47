"""The operator runs as the image has it: read-only, without a name or a home, by its pod's own account."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import support
from tests.harness.api import Api
from tests.harness.controlplane import ControlPlane
from tests.harness.fixtures import ForeignCluster
from tests.harness.kubeconfig import read_kubeconfig
from tests.harness.operator import OperatorProcess
from tests.image.conftest import Image

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


class InImage(OperatorProcess):
    """An operator in the image; what a kubelet would give its pod is mounted and set."""

    def __init__(self, image: Image, cluster: ControlPlane | ForeignCluster, namespace: str, folder: Path):
        """Plan it; `folder` is for the account's files."""
        super().__init__(cluster, [namespace], arguments=["--health-address", "127.0.0.1"])
        self._image, self._account = image, folder

    def _command(self) -> list[str]:
        _, *words = super()._command()
        host, port = self._lay_account().removeprefix("https://").split(":")
        variables = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
        shown = {self._account: ACCOUNT}
        return self._image.command("python", *words, shown=shown, variables=variables, network=True)

    def _lay_account(self) -> str:
        """Lay the account's files, and return the API server's address."""
        connection = read_kubeconfig(self._kubeconfig)
        files = {"token": connection.token, "ca.crt": connection.authority, "namespace": self.system}
        for name, content in files.items():
            assert content
            (self._account / name).write_text(content)
        return connection.server


@pytest.fixture
def operator(
    image: Image, cluster: ControlPlane | ForeignCluster, namespace: str, tmp_path: Path
) -> Iterator[OperatorProcess]:
    with InImage(image, cluster, namespace, tmp_path) as process:
        yield process


def test_a_server_becomes_ready(api: Api, namespace: str, operator: OperatorProcess) -> None:
    support.put(api, support.server(namespace))
    support.wait_serving(api, namespace)
    assert operator.running
    assert "Traceback" not in operator.log()
