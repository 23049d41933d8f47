"""`Verified`: servers are asked through their Services.

None of these is routed here: what answers stands in the place of a proxy.
"""

import time
from collections.abc import Iterator

import pytest

from tests.cluster import support
from tests.harness.answering import Answering
from tests.harness.api import Api, condition
from tests.harness.audit import Audit
from tests.harness.operator import Cluster, OperatorProcess

MODEL = "Qwen/Qwen3-0.6B"


@pytest.fixture
def answering() -> Iterator[Answering]:
    with Answering(MODEL) as server:
        yield server


@pytest.fixture
def operator(cluster: Cluster, namespace: str, answering: Answering) -> Iterator[OperatorProcess]:
    settings = {"VLLM_OPERATOR_VERIFY": "true", "VLLM_OPERATOR_VERIFY_PROXY": answering.url}
    with OperatorProcess(cluster, [namespace], settings) as process:
        yield process


def wait_verified(api: Api, namespace: str, status: str, reason: str, words: str = "") -> str:
    obj = support.wait_condition(api, namespace, "chat", reason, status, kind="Verified", words=words)
    return str(condition(obj, "Verified")["message"])


def test_an_answer_is_told_once_and_a_restart_writes_nothing(
    api: Api, namespace: str, operator: OperatorProcess, answering: Answering, audit: Audit
) -> None:
    support.put(api, support.server(namespace))
    message = wait_verified(api, namespace, "True", "Answers", "first token after")
    url = f"http://chat.{namespace}.svc:8008"
    assert message.startswith(f"{url}/v1 lists {MODEL}")
    assert [path for _, path, _ in answering.asked] == [f"{url}/v1/models", f"{url}/v1/completions"]
    support.wait_at_rest(audit, operator, namespace)
    mark = audit.mark()
    operator.restart()
    support.wait_reconciles(api, operator, 1)
    time.sleep(2)
    assert support.shown(audit.writes(operator.user, namespace, since=mark)) == []
    # What the status says already is asked again within a round, and not by all at once.
    assert len(answering.asked) == 2


def test_a_server_that_fails_is_told_and_stays_ready(
    api: Api, namespace: str, operator: OperatorProcess, answering: Answering
) -> None:
    answering.status["/v1/completions"] = 500
    support.put(api, support.server(namespace))
    message = wait_verified(api, namespace, "False", "NotAnswering", "/v1/completions answers with 500")
    assert f"`kubectl -n {namespace} logs deployment/chat --tail=50`" in message
    # Soon: with each failure that is told it is asked later.
    answering.status["/v1/completions"] = 200
    assert condition(support.wait_serving(api, namespace), "Ready")["status"] == "True"
    wait_verified(api, namespace, "True", "Answers")


def test_a_server_with_a_key_is_alive(
    api: Api, namespace: str, operator: OperatorProcess, answering: Answering
) -> None:
    answering.status["/v1/models"] = 401
    support.put(api, support.server(namespace))
    wait_verified(api, namespace, "Unknown", "KeyRequired", "Alive")


def test_it_is_switched_off_and_on_without_a_pod_of_another_template(
    api: Api, namespace: str, operator: OperatorProcess, answering: Answering
) -> None:
    support.put(api, support.server(namespace, verify=False))
    support.wait_serving(api, namespace)
    record = support.record(api, namespace)
    time.sleep(2)
    assert answering.asked == []
    support.put(api, support.server(namespace))
    wait_verified(api, namespace, "True", "Answers")
    support.put(api, support.server(namespace, verify=False))
    api.wait_object(
        *("VLLMServer", namespace, "chat"), lambda obj: not condition(obj, "Verified"), timeout=60
    )
    assert support.record(api, namespace) == record


def test_an_operator_that_asks_nobody_keeps_no_answer(
    cluster: Cluster, api: Api, namespace: str, operator: OperatorProcess, answering: Answering
) -> None:
    answering.status["/v1/completions"] = 500
    support.put(api, support.server(namespace))
    wait_verified(api, namespace, "False", "NotAnswering")
    operator.stop()
    with OperatorProcess(cluster, [namespace]):
        api.wait_object("VLLMServer", namespace, "chat", lambda obj: not condition(obj, "Verified"))
        support.wait_serving(api, namespace)


def test_each_revision_is_asked(
    api: Api, namespace: str, operator: OperatorProcess, answering: Answering
) -> None:
    support.put(api, support.server(namespace))
    wait_verified(api, namespace, "True", "Answers")
    support.put(api, support.server(namespace, model={"name": MODEL, "servedNames": ["other"]}))
    wait_verified(api, namespace, "False", "ModelNotServed", f"does not list other, but: {MODEL}")
