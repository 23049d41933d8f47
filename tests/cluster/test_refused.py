"""What the API server refuses, of the operator and of the ReplicaSet controller, is told in its own words."""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.cluster import support
from tests.cluster.kubectl import follow
from tests.harness.api import Api, ApiError, Object
from tests.harness.audit import Audit
from tests.harness.kinds import KINDS
from tests.harness.operator import Cluster, OperatorProcess

CLOSED = "closed on Sundays"


Closed = Callable[..., Callable[[], None]]


@pytest.fixture
def closed(api: Api, namespace: str) -> Iterator[Closed]:
    """Deny objects like the given one, or its deletion; what is returned admits them again."""
    kinds = ("ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy")

    def remove() -> None:
        for kind in kinds:
            api.delete(kind, None, namespace, missing_ok=True)

    def close(example: Object, *, deletion: bool = False) -> Callable[[], None]:
        group, _, version = example["apiVersion"].rpartition("/")
        resource = {"apiGroups": [group], "apiVersions": [version]}
        operations = ["DELETE"] if deletion else ["CREATE", "UPDATE"]
        rules = [resource | {"operations": operations, "resources": [f"{example['kind'].lower()}s"]}]
        where = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
        common = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": namespace}}
        validations = [{"expression": "false", "message": CLOSED}]
        policy = {"matchConstraints": {"resourceRules": rules}, "validations": validations}
        binding = {"policyName": namespace, "validationActions": ["Deny"], "matchResources": where}
        api.create(common | {"kind": kinds[1], "spec": policy})
        api.create(common | {"kind": kinds[0], "spec": binding})
        api.wait_for(lambda: _is_denied(api, example, deletion), message="the policy is in force")

        def reopen() -> None:
            remove()
            api.wait_for(
                lambda: not _is_denied(api, example, deletion), message="the policy is no longer in force"
            )

        return reopen

    yield close
    remove()


def _is_denied(api: Api, example: Object, deletion: bool) -> bool:
    metadata = example["metadata"]
    path = KINDS[example["kind"]].path(metadata["namespace"], metadata["name"])
    try:
        if deletion:
            api.request("DELETE", path, {"dryRun": ["All"]})
        else:
            api.create(example, dry_run=True)
    except ApiError as error:
        return CLOSED in error.message
    return False


def object_(namespace: str, kind: str, **spec: object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": "any", "namespace": namespace},
        "spec": spec,
    }


def test_a_child_that_a_policy_denies(
    api: Api, namespace: str, shared: OperatorProcess, closed: Closed
) -> None:
    reopen = closed(object_(namespace, "Service", ports=[{"port": 80}]))
    support.put(api, support.server(namespace))
    message = support.wait_stalled(api, namespace, "chat", "ChildRejected", words="Service chat was refused")
    assert CLOSED in message
    assert "tried again every minute" in message
    reopen()
    # Policies are not watched; any word on the server makes the operator look again at once.
    api.patch("VLLMServer", namespace, "chat", {"metadata": {"annotations": {"look": "again"}}})
    support.wait_serving(api, namespace)


def test_a_server_that_goes_last_of_its_namespace_is_told_nothing_of_it(
    api: Api, namespace: str, shared: OperatorProcess, audit: Audit, closed: Closed
) -> None:
    """In a namespace in deletion nothing can be made, which is nobody's to mend."""
    server = support.server(namespace)
    support.put(api, server)
    support.wait_serving(api, namespace)
    support.wait_at_rest(audit, shared, namespace)
    reopen = closed(server, deletion=True)
    mark = audit.mark()
    api.delete("Namespace", None, namespace)

    def refused() -> Counter[str]:
        writes = audit.writes(shared.user, namespace, since=mark)
        return Counter(each.uri for each in writes if each.code == 403 and each.resource == "services")

    try:
        api.wait_for(
            lambda: max(refused().values(), default=0) >= 2,
            timeout=120,  # pods that end slowly hold up the second round of the namespace's deletion
            message="a Service could not be made again, twice",
        )
        found = support.child(api, namespace, "VLLMServer", "chat")
        assert "deletionTimestamp" not in found["metadata"]
        assert "ChildRejected" not in str(found["status"])
    finally:
        reopen()


def test_pods_that_a_policy_denies(
    *,
    cluster: Cluster,
    api: Api,
    namespace: str,
    shared: OperatorProcess,
    closed: Closed,
) -> None:
    context = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {"name": "a", "image": "example.invalid/a:1", "securityContext": context}
    reopen = closed(object_(namespace, "Pod", containers=[container]))
    support.put(api, support.server(namespace))
    message = support.wait_stalled(api, namespace, "chat", "ChildRejected", words=CLOSED)
    assert message.startswith("Pods are refused: ")
    reopen()
    follow(cluster, message, "rollout restart")
    support.wait_serving(api, namespace)


def test_an_account_that_does_not_exist(
    cluster: Cluster, api: Api, namespace: str, shared: OperatorProcess
) -> None:
    support.put(api, support.server(namespace, serviceAccountName="puller"))
    words = 'serviceaccount "puller" not found'
    message = support.wait_stalled(api, namespace, "chat", "ChildRejected", words=words)
    api.create(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "puller", "namespace": namespace}}
    )
    follow(cluster, message, "rollout restart")
    support.wait_serving(api, namespace)
    (pod,) = api.list("Pod", namespace)
    assert pod["spec"]["serviceAccountName"] == "puller"


def test_a_priority_class_that_does_not_exist(api: Api, namespace: str, shared: OperatorProcess) -> None:
    support.put(api, support.server(namespace, priorityClassName="most-high"))
    words = "no PriorityClass with name most-high was found"
    support.wait_stalled(api, namespace, "chat", "ChildRejected", words=words)
    support.put(api, support.server(namespace))
    support.wait_serving(api, namespace)
