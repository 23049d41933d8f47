"""The microservice of a server: beside it, on its own, and gone when it is switched off."""

import time

from tests.cluster import support
from tests.harness.api import Api, condition
from tests.harness.audit import Audit
from tests.harness.operator import Cluster, OperatorProcess
from vllm_operator.controller.outcome import STALLED_RECHECK_SECONDS

OLD, NEW = "registry.example/operator:v1", "registry.example/operator:v2"
ENABLED = {"enabled": True, "image": OLD}


def wait_ready(api: Api, namespace: str, status: str = "True", reason: str = "Serving") -> str:
    obj = support.wait_condition(api, namespace, "chat", reason, status, kind="MicroserviceReady")
    return str(condition(obj, "MicroserviceReady")["message"])


def test_it_comes_rolls_and_goes_without_a_pod_of_the_server(
    api: Api, namespace: str, operator: OperatorProcess, audit: Audit
) -> None:
    support.put(api, support.server(namespace))
    support.wait_serving(api, namespace)
    before = support.child(api, namespace, "Deployment", "chat")["metadata"]["generation"]
    support.put(api, support.server(namespace, microservice=ENABLED))
    assert wait_ready(api, namespace) == f"Serves at http://chat-llm.{namespace}.svc:9000/v1/chat/completions"
    support.put(api, support.server(namespace, microservice=ENABLED | {"image": NEW, "replicas": 2}))
    api.wait_for(
        lambda: (
            {
                pod["spec"]["containers"][0]["image"]
                for pod in api.list("Pod", namespace, labels="vllm-operator.dev/microservice=chat")
            }
            == {NEW}
        ),
        timeout=support.READY_SECONDS,
    )
    wait_ready(api, namespace)
    assert support.child(api, namespace, "PodDisruptionBudget", "chat-llm")
    api.wait_for(lambda: len(of_it(api, namespace)) == 1, message="the old record is pruned")
    support.put(api, support.server(namespace))
    for kind in ("Deployment", "Service", "PodDisruptionBudget"):
        api.wait_gone(kind, namespace, "chat-llm")
    api.wait_for(lambda: not of_it(api, namespace), message="its records are pruned")
    support.wait_at_rest(audit, operator, namespace)
    assert support.child(api, namespace, "Deployment", "chat")["metadata"]["generation"] == before


def of_it(api: Api, namespace: str) -> list[str]:
    """Names of the records of the microservice."""
    found = api.list("ControllerRevision", namespace)
    return [each["metadata"]["name"] for each in found if each["metadata"]["name"].startswith("chat-llm-")]


def test_another_operator_s_image_moves_nobody_before_a_refresh(
    cluster: Cluster, api: Api, namespace: str, audit: Audit
) -> None:
    of = {"enabled": True}
    with OperatorProcess(cluster, [namespace], {"VLLM_OPERATOR_MICROSERVICE_IMAGE": OLD}):
        support.put(api, support.server(namespace, microservice=of))
        wait_ready(api, namespace)
        support.wait_serving(api, namespace)
    made = support.child(api, namespace, "Deployment", "chat-llm")
    with OperatorProcess(cluster, [namespace], {"VLLM_OPERATOR_MICROSERVICE_IMAGE": NEW}) as newer:
        api.wait_object(
            *("VLLMServer", namespace, "chat"),
            lambda obj: obj["status"].get("refreshAvailable") is True,
            timeout=support.READY_SECONDS,
        )
        support.wait_at_rest(audit, newer, namespace)
        assert support.child(api, namespace, "Deployment", "chat-llm")["spec"] == made["spec"]
        support.put(api, support.server(namespace, microservice=of, rollout={"refresh": "2"}))
        api.wait_object(
            *("Deployment", namespace, "chat-llm"),
            lambda obj: obj["spec"]["template"]["spec"]["containers"][0]["image"] == NEW,
            timeout=support.READY_SECONDS,
        )


def test_who_scales_it_is_left_alone_and_a_restart_writes_nothing(
    api: Api, namespace: str, operator: OperatorProcess, audit: Audit
) -> None:
    support.put(api, support.server(namespace, microservice=ENABLED))
    wait_ready(api, namespace)
    api.patch("Deployment", namespace, "chat-llm", {"spec": {"replicas": 3}})
    api.wait_object(
        *("Deployment", namespace, "chat-llm"),
        lambda obj: obj["status"].get("readyReplicas") == 3,
        timeout=60,
    )
    support.wait_at_rest(audit, operator, namespace)
    mark = audit.mark()
    operator.restart()
    support.wait_reconciles(api, operator, 1)
    time.sleep(2)
    assert support.shown(audit.writes(operator.user, namespace, since=mark)) == []
    assert support.child(api, namespace, "Deployment", "chat-llm")["spec"]["replicas"] == 3


def test_a_strangers_deployment_of_its_name_holds_up_nothing_but_it(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    labels = {"app": "theirs"}
    container = {"name": "a", "image": OLD}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    theirs = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}
    api.create(theirs | {"metadata": {"name": "chat-llm", "namespace": namespace}})
    support.put(api, support.server(namespace, microservice=ENABLED))
    message = wait_ready(api, namespace, "False", "NotOwned")
    assert "Deployment chat-llm exists and does not belong to this VLLMServer" in message
    support.wait_serving(api, namespace)
    support.put(api, support.server(namespace, replicas=2, microservice=ENABLED))
    api.wait_object(
        *("Deployment", namespace, "chat"), lambda obj: obj["status"].get("readyReplicas") == 2, timeout=60
    )
    assert support.child(api, namespace, "Deployment", "chat-llm")["spec"]["template"]["metadata"] == {
        "labels": labels
    }
    api.delete("Deployment", namespace, "chat-llm")
    # No watch tells of a stranger: it is looked for every minute.
    api.wait_object("Deployment", namespace, "chat-llm", timeout=2 * STALLED_RECHECK_SECONDS)
    wait_ready(api, namespace)
