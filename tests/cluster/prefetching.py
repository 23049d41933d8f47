"""Servers that prefetch, and their Jobs, which a test ends by hand (see `tests/harness/stages/jobs.yaml`)."""

import json
from typing import Any

from tests.cluster import support
from tests.harness.api import Api, Object, condition

COMMIT = "0123456789abcdef0123456789abcdef01234567"
"""What the played program has resolved."""
OF_JOBS = "app.kubernetes.io/component=prefetch"
OF_SERVERS = "app.kubernetes.io/component=server"
ACT, AGAIN = 78, 75
"""Exit codes of the program: docs/decisions/0007-prefetch.md."""


def held(namespace: str, name: str = "chat", **spec: Any) -> Object:
    """Return a server whose prefetch lasts until a test ends it."""
    return support.server(namespace, name, life="held", prefetch=True, **spec)


def report(reason: str, message: str) -> str:
    """Return what the program says when it has failed."""
    return json.dumps({"reason": reason, "message": message})


def job(api: Api, namespace: str, but: str = "") -> Object:
    """Wait for the one Job of a namespace that is not the one of a uid, and is not about to go."""

    def found() -> Object | None:
        jobs = [each for each in api.list("Job", namespace) if "deletionTimestamp" not in each["metadata"]]
        return jobs[0] if len(jobs) == 1 and jobs[0]["metadata"]["uid"] != but else None

    return api.wait_for(found, timeout=support.READY_SECONDS, message="one Job")


def running_pod(api: Api, namespace: str, of: Object) -> Object:
    """Wait for a pod of a Job that has begun to run."""
    labels = f"batch.kubernetes.io/controller-uid={of['metadata']['uid']}"

    def found() -> Object | None:
        pods = api.list("Pod", namespace, labels=labels, fields="status.phase=Running")
        return pods[0] if pods else None

    return api.wait_for(found, timeout=support.READY_SECONDS, message="a running pod of the Job")


def end(api: Api, namespace: str, of: Object, code: int = 0, message: str = "") -> str:
    """End the pod of a Job that is held, and return the pod's name."""
    name = str(running_pod(api, namespace, of)["metadata"]["name"])
    annotations = {"test-end": str(code)} | ({"test-message": message} if message else {})
    api.patch("Pod", namespace, name, {"metadata": {"annotations": annotations}})
    return name


def jobs_since(api: Api, namespace: str, since: Object) -> list[Object]:
    """Return every state of every Job since an object was written, up to now."""
    metadata = {"generateName": "mark-", "namespace": namespace}
    mark = api.create(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": metadata,
            "spec": {"suspend": True, "template": {"spec": _NOTHING}},
        }
    )
    uid = mark["metadata"]["uid"]
    states = support.history(api, "Job", namespace, since, lambda obj: obj["metadata"]["uid"] == uid)
    api.delete("Job", namespace, mark["metadata"]["name"], propagation="Background")
    return [each for each in states[:-1] if not each["metadata"]["name"].startswith("mark-")]


_NOTHING: Object = {"restartPolicy": "Never", "containers": [{"name": "a", "image": "example.invalid/a:1"}]}


def completed(obj: Object) -> bool:
    """Say whether a Job has succeeded."""
    return bool(condition(obj, "Complete").get("status") == "True")


def uids(objects: list[Object]) -> list[str]:
    """Return the uids of objects, each once, in the order in which they were seen."""
    return list(dict.fromkeys(each["metadata"]["uid"] for each in objects))


def server_pods(api: Api, namespace: str) -> list[Object]:
    """Return the pods that serve, or will."""
    return api.list("Pod", namespace, labels=OF_SERVERS)


def variables(pod_spec: Object) -> dict[str, Object]:
    """Return the environment of a pod's container, by name."""
    return {each["name"]: each for each in pod_spec["containers"][0]["env"]}
