"""VLLMServers for the cluster tests, and what may be asked about them."""

import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

import httpx

from tests.harness.api import Api, Object, condition
from tests.harness.audit import Audit, Request
from tests.harness.operator import OperatorProcess

SERVER_LABEL = "vllm-operator.dev/server"
RECORD_LABEL = "vllm-operator.dev/record"
MANAGER = "vllm-operator"
CHILD_KINDS = (
    *("ServiceAccount", "PersistentVolumeClaim", "ControllerRevision", "Service", "PodDisruptionBudget"),
    *("Deployment", "ConfigMap", "Job", "NetworkPolicy", "HorizontalPodAutoscaler"),
)
IMAGE = "registry.example/vllm:a"
ENGINE = {"family": "vllm", "version": "0.32"}
READY_SECONDS = 60.0

Ref = tuple[str, str]


def server(namespace: str, name: str = "chat", *, life: str = "", message: str = "", **spec: Any) -> Object:
    """Return a VLLMServer whose pods live the given life; `spec` holds further fields of its spec."""
    variables = [("TEST_LIFE", life), ("TEST_MESSAGE", message)]
    chosen = [{"name": key, "value": value} for key, value in variables if value]
    base: Object = {
        "model": {"name": "Qwen/Qwen3-0.6B"},
        "device": "cpu",
        "cache": {"size": "50Gi"},
        "prefetch": False,
    }
    if chosen:
        base["extraEnv"] = chosen
    return {
        "apiVersion": "vllm-operator.dev/v1alpha1",
        "kind": "VLLMServer",
        "metadata": {"name": name, "namespace": namespace},
        "spec": base | spec,
    }


def put(api: Api, obj: Object) -> Object:
    """Apply an object as its author does, fields that are left out go."""
    return api.apply(obj, manager="author", force=True)


def wait_condition(
    api: Api,
    namespace: str,
    name: str,
    reason: str,
    status: str,
    *,
    kind: str = "Ready",
    words: str = "",
    of: str = "VLLMServer",
) -> Object:
    """Wait until a condition of the present generation has a status, a reason and words in its message."""

    def told(obj: Object) -> bool:
        found = condition(obj, kind)
        seen = (found.get("status"), found.get("reason"), found.get("observedGeneration"))
        return seen == (status, reason, obj["metadata"]["generation"]) and words in found["message"]

    text = f"{name}: {kind}={status} {reason} {words}"
    return api.wait_object(of, namespace, name, told, timeout=READY_SECONDS, message=text)


def wait_serving(api: Api, namespace: str, name: str = "chat") -> Object:
    """Wait until a server is Ready=True/Serving at its present generation."""
    return wait_condition(api, namespace, name, "Serving", "True")


def wait_stalled(
    api: Api, namespace: str, name: str, reason: str, words: str = "", *, of: str = "VLLMServer"
) -> str:
    """Wait until a resource is Stalled and not Ready for a reason, and return the message."""
    obj = wait_condition(api, namespace, name, reason, "False", words=words, of=of)
    stalled = condition(obj, "Stalled")
    assert (stalled.get("status"), stalled.get("reason")) == ("True", reason), obj["status"]
    assert not condition(obj, "Reconciling"), obj["status"]
    return str(stalled["message"])


def wait_reconciling(
    api: Api, namespace: str, name: str, reason: str, words: str = "", *, of: str = "VLLMServer"
) -> str:
    """Wait until a resource is Reconciling and not Ready for a reason, and return the message."""
    obj = wait_condition(api, namespace, name, reason, "False", words=words, of=of)
    assert condition(obj, "Reconciling").get("status") == "True", obj["status"]
    assert not condition(obj, "Stalled"), obj["status"]
    return str(condition(obj, "Ready")["message"])


def children(api: Api, namespace: str, name: str = "chat") -> dict[Ref, Object]:
    """Return all children of a server, as they are stored."""
    labels = f"{SERVER_LABEL}={name}"
    found = (obj for kind in CHILD_KINDS for obj in api.list(kind, namespace, labels=labels))
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in found}


def child(api: Api, namespace: str, kind: str, name: str) -> Object:
    """Return an object that must be there."""
    obj = api.get(kind, namespace, name)
    assert obj is not None, f"no {kind} {namespace}/{name}"
    return obj


def record(api: Api, namespace: str, name: str = "chat") -> str:
    """Return the record's digest that the server's pod template carries."""
    deployment = child(api, namespace, "Deployment", name)
    return str(deployment["spec"]["template"]["metadata"]["labels"][RECORD_LABEL])


def records(api: Api, namespace: str, name: str = "chat") -> set[str]:
    """Return the digests of a server's records."""
    return {
        key[1].rsplit("-", 1)[1] for key in children(api, namespace, name) if key[0] == "ControllerRevision"
    }


def versions(objects: dict[Ref, Object]) -> dict[Ref, tuple[str, str]]:
    """Return uid and resourceVersion of objects: equal means untouched."""
    return {ref: (obj["metadata"]["uid"], obj["metadata"]["resourceVersion"]) for ref, obj in objects.items()}


def environment(deployment: Object) -> dict[str, str]:
    """Return the plain environment variables of a Deployment's container."""
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    return {each["name"]: each.get("value", "") for each in container["env"] if "valueFrom" not in each}


def history(
    api: Api, kind: str, namespace: str, since: Object, until: Callable[[Object], object]
) -> list[Object]:
    """Return every state that the API server's watch tells of a kind since an object was written.

    The watch begins in the past, so that nothing that came and went in between is missed; it ends with the
    first state for which `until` holds. `change` in a state is the watch's ADDED, MODIFIED or DELETED.
    """
    states: list[Object] = []
    for change, obj in api.watch(kind, namespace, seconds=60, since=since["metadata"]["resourceVersion"]):
        assert change != "ERROR", obj
        states.append(obj | {"kind": kind, "change": change})
        if until(states[-1]):
            return states
    raise AssertionError(f"the watch of {kind} did not show what was waited for; it showed {states}")


def version(obj: Object) -> int:
    """Return an object's resourceVersion; they can be compared, also across kinds: all are of one etcd."""
    return int(obj["metadata"]["resourceVersion"])


def reconciles(operator: OperatorProcess) -> int:
    """Return how many reconciles the operator has ended since it was started."""
    page = httpx.get(f"http://127.0.0.1:{operator.health_port}/metrics", timeout=10.0, trust_env=False).text
    lines = [line for line in page.splitlines() if line.startswith("vllm_operator_reconciles_total{")]
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines)


def wait_reconciles(api: Api, operator: OperatorProcess, more: int, since: int = 0) -> None:
    """Wait until the operator has ended so many more reconciles than `since`."""
    api.wait_for(
        lambda: reconciles(operator) >= since + more,
        timeout=READY_SECONDS,
        message=f"{more} reconciles; the operator's last words:\n{operator.tail()}",
    )


def wait_at_rest(
    audit: Audit,
    operator: OperatorProcess,
    namespace: str | Collection[str],
    still: float = 2.0,
    timeout: float = 120.0,
) -> None:
    """Wait until the operator has written nothing in a namespace, or in several, for `still` seconds.

    Never in all of them: those of earlier tests may still be in deletion.
    """
    deadline = time.monotonic() + timeout
    while True:
        mark = audit.mark()
        time.sleep(still)
        written = audit.writes(operator.user, namespace, since=mark)
        if not written:
            return
        assert time.monotonic() < deadline, f"still writing after {timeout:.0f} s: {shown(written)}"


def shown(requests: Iterable[Request]) -> list[str]:
    """Return requests in a readable form."""
    return [f"{each.verb} {each.uri} -> {each.code} {each.message}".rstrip() for each in requests]


def written(audit: Audit, operator: OperatorProcess, since: int) -> list[str]:
    """Return the operator's writes in a readable form, but for renewals of its own Lease."""
    own = ("update", "leases", operator.system, MANAGER)
    return shown(
        each
        for each in audit.writes(operator.user, since=since, leases=True)
        if (each.verb, each.resource, each.namespace, each.name) != own
    )


def refused(
    audit: Audit, operator: OperatorProcess, namespace: str | None = None, since: int = 0
) -> list[str]:
    """Return the operator's requests that RBAC or admission refused."""
    return shown(each for each in audit.requests(operator.user, namespace, since=since) if each.code == 403)
