"""The operator needs all the rights that it ships, and no others."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TypeVar

import pytest

from tests.cluster import quantizing, support
from tests.harness import monitoring
from tests.harness.api import Api
from tests.harness.audit import Audit
from tests.harness.operator import Cluster, OperatorProcess, shipped_rbac

Right = tuple[str, str, str]
T = TypeVar("T")


class WaitingApi(Api):
    """Waits only while the operators are refused nothing: what a missing right keeps from coming never comes.

    The test then fails at once, with the API server's words that name the right.
    """

    def __init__(self, cluster: Cluster, audit: Audit, *operators: OperatorProcess):
        super().__init__(cluster.kubeconfig)
        self._audit = audit
        self._operators = operators

    def wait_for(self, predicate: Callable[[], T | None], timeout: float = 30.0, message: str = "") -> T:
        def allowed() -> T | None:
            for operator in self._operators:
                if refused := support.refused(self._audit, operator):
                    pytest.fail(f"a right is missing: {refused[0]}")
            return predicate()

        return super().wait_for(allowed, timeout, message)


def shipped() -> set[Right]:
    """Return every right as (group, resource with subresource, verb)."""
    return {
        (group, resource, verb)
        for rule in shipped_rbac().policy_rules() + shipped_rbac().lease_rules()
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def _give_account(api: Api, namespace: str) -> None:
    metadata = {"name": "puller", "namespace": namespace}
    api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    template = {"configMapKeyRef": {"name": "templates", "key": "chat"}}
    model = {"name": "Qwen/Qwen3-0.6B", "chatTemplate": template}
    support.put(api, support.server(namespace, life="no-mount", model=model, serviceAccountName="puller"))


@pytest.fixture
def pod_monitors(cluster: Cluster) -> Iterator[None]:
    """The cluster knows the kind PodMonitor."""
    monitoring.install(cluster.api)
    yield
    monitoring.remove(cluster.api)


@pytest.mark.usefixtures("pod_monitors")
def test_every_right_is_used_and_none_is_missing(cluster: Cluster, namespace: str, audit: Audit) -> None:
    assert not [right for right in shipped() if "*" in right or right[1].startswith("secrets")]
    operator, standby = OperatorProcess(cluster, [namespace]), OperatorProcess(cluster, [namespace])
    with closing(operator), closing(standby), WaitingApi(cluster, audit, operator, standby) as api:
        operator.start(wait=False)  # without some rights it is never ready
        # While one is filled, served and edited, another one warms up, and its log is read in time.
        support.put(api, support.server(namespace, "warms", life="never-ready"))
        chat = support.server(
            namespace,
            replicas=2,
            prefetch=True,
            networkPolicy={"from": [{"podSelector": {}}]},
            microservice={"enabled": True, "image": support.IMAGE},
            autoscaling={"maxReplicas": 3},
            monitoring={"podMonitor": {"interval": "1m"}},
        )
        support.put(api, chat)
        support.wait_serving(api, namespace)
        api.wait_object("PodMonitor", namespace, "chat")
        # Every child is edited, so that it is applied again; an edit of the spec replaces the record.
        for kind, name in support.children(api, namespace):
            label = {"metadata": {"labels": {"app.kubernetes.io/name": "other"}}}
            if kind != "ControllerRevision":
                api.patch(kind, namespace, name, label)
                api.wait_object(
                    kind,
                    namespace,
                    name,
                    lambda obj: obj["metadata"]["labels"]["app.kubernetes.io/name"] == "vllm",
                )
        first = support.record(api, namespace)
        support.put(api, support.server(namespace, engineArgs={"seed": 1}))
        support.wait_serving(api, namespace)
        api.wait_for(lambda: first not in support.records(api, namespace), message="the old record is pruned")
        # The budget has gone with the second replica, the others with their fields. A given account takes the
        # place of the own one, and of what its pod misses only Events tell.
        for kind in ("PodDisruptionBudget", "NetworkPolicy", "HorizontalPodAutoscaler", "PodMonitor"):
            api.wait_gone(kind, namespace, "chat")
        for kind in ("Deployment", "Service"):
            api.wait_gone(kind, namespace, "chat-llm")
        _give_account(api, namespace)
        support.wait_reconciling(api, namespace, "chat", "MountFailed")
        (pod,) = api.list("Pod", namespace, labels=f"{support.SERVER_LABEL}=chat")
        found = {"metadata": {"annotations": {"test-found": "yes"}}}
        api.patch("Pod", namespace, pod["metadata"]["name"], found)
        api.wait_gone("ServiceAccount", namespace, "chat-vllm")
        quantizing.make_claim(api, namespace)
        support.put(api, support.server(namespace, "other", cache={"claimName": quantizing.CLAIM}))
        support.wait_serving(api, namespace, "other")
        support.put(api, quantizing.quantization(namespace))
        quantizing.wait_ready(api, namespace)
        api.wait_for(
            lambda: [each for each in audit.requests(operator.user) if each.subresource == "log"],
            timeout=support.READY_SECONDS,
            message="a look at a log",
        )
        support.wait_at_rest(audit, operator, namespace)
        standby.start(wait=False)
        api.wait_for(standby.ready, message="the standby is ready")
        assert standby.stop() == 0
        # A watch is in the log only once it has ended.
        assert operator.stop() == 0
        for user in (operator.user, standby.user):
            api.wait_for(
                lambda user=user: any(each.verb == "watch" for each in audit.requests(user)),  # type: ignore[misc]
                message="ended watches",
            )
        requests = audit.requests(operator.user) + audit.requests(standby.user)
        assert support.refused(audit, operator) + support.refused(audit, standby) == []
    used: set[Right] = set()
    for each in requests:
        resource = f"{each.resource}/{each.subresource}" if each.subresource else each.resource
        used.add((each.group, resource, each.verb))
        # An apply of what does not exist is a patch that needs the right to create.
        if each.verb == "patch" and each.code == 201:
            used.add((each.group, resource, "create"))
    assert shipped() - used == set(), "rights that nothing used"
    # Without a resource: discovery, which every authenticated user may do.
    assert {right for right in used if right[1]} - shipped() == set(), "requests beyond the rights"
    assert not [each for each in requests if each.resource == "secrets"]
