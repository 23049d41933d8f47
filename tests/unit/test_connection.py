"""In which namespace the Lease is."""

from pathlib import Path

import pytest

from vllm_operator.config import InvalidSettingError, Settings
from vllm_operator.controller import connection

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
contexts:
- {name: elsewhere, context: {cluster: c, user: u, namespace: not-this}}
- {name: here, context: {cluster: c, user: u%s}}
clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]
users: [{name: u, user: {}}]
"""


@pytest.mark.parametrize(("words", "namespace"), [(", namespace: mine", "mine"), ("", "default")])
def test_that_of_the_kubeconfigs_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, namespace: str
) -> None:
    file = tmp_path / "config"
    file.write_text(KUBECONFIG % words)
    monkeypatch.setenv("KUBECONFIG", str(file))
    assert connection.own_namespace() == namespace


def test_that_of_the_pods_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "namespace"
    file.write_text("mine\n")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(connection, "_ACCOUNT_NAMESPACE", file)
    assert connection.own_namespace() == "mine"


@pytest.mark.parametrize(
    ("environment", "namespace"),
    [
        ({}, ""),
        ({"POD_NAMESPACE": "pod"}, "pod"),
        ({"VLLM_OPERATOR_LEASE_NAMESPACE": "told", "POD_NAMESPACE": "pod"}, "told"),
        ({"VLLM_OPERATOR_LEASE_NAMESPACE": "", "POD_NAMESPACE": "pod"}, "pod"),
    ],
)
def test_what_the_environment_says_goes_first(environment: dict[str, str], namespace: str) -> None:
    assert Settings.read(environment).lease_namespace == namespace


@pytest.mark.parametrize("content", [None, b"a: b: c", b"kind: Config", b"", b"\xff\xfe"])
async def test_a_kubeconfig_that_cannot_be_read_is_told_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    file = tmp_path / "config"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("KUBECONFIG", str(file))
    with pytest.raises(InvalidSettingError, match=f"^no cluster to run against: {file}: "):
        await connection.load_configuration()


async def test_a_kubeconfig_that_is_a_folder_is_told_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path))
    with pytest.raises(InvalidSettingError, match=f"^no cluster to run against: {tmp_path}: .*directory"):
        await connection.load_configuration()
