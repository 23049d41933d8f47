"""Any text of a CR reaches its pod unchanged, and why the client's own way of writing it would not do."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from kubernetes.aio import client, config

from tests.cluster import support
from tests.harness import manifests
from tests.harness.api import APPLY_PATCH, Api, Object
from tests.harness.audit import Audit
from tests.harness.kubeconfig import read_kubeconfig
from tests.harness.operator import Cluster, OperatorProcess

EMOJI, DEL, NEL = "\U0001f600", "\x7f", "\x85"
HOSTILE = {
    "EMOJI": f"a {EMOJI} b",
    "DELETE": f"a {DEL} b",
    "NEXT_LINE": f"a {NEL} b",
    "SEPARATORS": "a \u2028 b \u2029 c \ufeff d \ufffe e",
    "YAML": "{{ x }}: [&a *a] # |\n- 'b' \"c\" \\ \t{% raw %}",
    "LOOKS_LIKE": "no",
    "EMPTY": "",
    "BLANK": " ",
}


def test_text_reaches_the_pod_unchanged(
    api: Api, namespace: str, shared: OperatorProcess, audit: Audit
) -> None:
    variables = [{"name": name, "value": value} for name, value in HOSTILE.items()]
    support.put(api, support.server(namespace, extraEnv=variables))
    support.wait_serving(api, namespace)
    deployment = support.child(api, namespace, "Deployment", "chat")
    (pod,) = api.list("Pod", namespace)
    for spec in (deployment, {"spec": {"template": pod}}):
        reached = support.environment(spec)
        assert {name: reached[name] for name in HOSTILE} == HOSTILE
    support.wait_at_rest(audit, shared, namespace)
    mark, before = audit.mark(), support.reconciles(shared)
    api.patch("VLLMServer", namespace, "chat", {"metadata": {"annotations": {"look": "again"}}})
    support.wait_reconciles(api, shared, 1, since=before)
    support.wait_at_rest(audit, shared, namespace)
    assert support.shown(audit.writes(shared.user, namespace, since=mark)) == []


@pytest.fixture
async def core(cluster: Cluster) -> AsyncIterator[client.CoreV1Api]:
    configuration = client.Configuration()
    await config.load_kube_config(  # type: ignore[no-untyped-call]
        config_file=str(cluster.kubeconfig), client_configuration=configuration
    )
    configuration.client_session_kwargs = {"trust_env": False}
    connection = client.ApiClient(configuration)
    yield client.CoreV1Api(connection)
    await connection.close()  # type: ignore[no-untyped-call]


async def test_the_clients_own_way_fails_for_an_emoji(core: client.CoreV1Api, namespace: str) -> None:
    """What `kubernetes.aio` makes of a dict: json.dumps, with a surrogate pair for an emoji."""

    async def apply(text: str) -> None:
        body = manifests.config_map(namespace, "words", {"text": text})
        await core.patch_namespaced_config_map(
            "words", namespace, body, field_manager="test", _content_type=APPLY_PATCH
        )

    await apply("plain")
    with pytest.raises(client.ApiException, match="found invalid Unicode character escape code") as refusal:
        await apply(EMOJI)
    assert refusal.value.status == 400


@pytest.mark.parametrize(
    ("text", "ascii_only", "status", "words"),
    [
        (EMOJI, True, 400, "found invalid Unicode character escape code"),
        (EMOJI, False, 201, ""),
        (DEL, True, 201, ""),
        (DEL, False, 400, "control characters are not allowed"),
        (NEL, True, 201, ""),
        (NEL, False, 201, ""),
    ],
)
def test_what_the_api_server_says_to_json_dumps(
    *, cluster: Cluster, api: Api, namespace: str, text: str, ascii_only: bool, status: int, words: str
) -> None:
    """Neither way of json.dumps serves all three characters; a raw NEL is even taken, and changed."""
    body = manifests.config_map(namespace, "words", {"text": f"a{text}b"})
    answer = _raw_apply(cluster.kubeconfig, body, json.dumps(body, ensure_ascii=ascii_only))
    assert (answer.status_code, words in answer.json().get("message", "")) == (status, True), answer.text
    if status == 201:
        stored = support.child(api, namespace, "ConfigMap", "words")["data"]["text"]
        changed = text == NEL and not ascii_only
        assert stored == ("a b" if changed else f"a{text}b")


def _raw_apply(kubeconfig: Path, obj: Object, text: str) -> httpx.Response:
    connection = read_kubeconfig(kubeconfig)
    metadata = obj["metadata"]
    url = f"{connection.server}/api/v1/namespaces/{metadata['namespace']}/configmaps/{metadata['name']}"
    return httpx.patch(
        url,
        content=text.encode(),
        headers={"Content-Type": APPLY_PATCH},
        params={"fieldManager": "test"},
        verify=connection.ssl_context(),
        trust_env=False,
        timeout=30.0,
    )
