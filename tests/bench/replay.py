"""The same writes by a client that only writes: what the API server gives at best on this machine."""

import time
from dataclasses import dataclass

from tests.bench import counts
from tests.bench.arena import Arena, server
from tests.bench.client import IN_FLIGHT, Call, Chain, apply, create, delete, post_event, send
from tests.bench.history import Version
from tests.cluster.prefetching import COMMIT
from tests.harness.api import Object
from vllm_operator.api.observed import Cached, Observed
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.config import Settings
from vllm_operator.desired import names
from vllm_operator.desired.server import PREFETCH_KINDS, desired


@dataclass(frozen=True)
class Replayed:
    """Rates of a replay, and what it sent."""

    jobs: float
    writes: float
    sent: int


def replay(
    arena: Arena, namespace: str, versions: dict[str, list[Version]], replicas: int | None
) -> Replayed:
    """Write what the operator wrote, once more into a namespace of its own, with `replicas` if given.

    First the children of all servers up to their Jobs, then, in a second go, those that follow a prefetch and
    the end of the Jobs, and then all statuses and Events; each server's in order.
    """
    arena.add_namespace(namespace)
    send(arena.kubeconfig, [[create(server(namespace, name))] for name in arena.names])
    stored = {each["metadata"]["name"]: each for each in arena.api.list("VLLMServer", namespace)}
    before = [_until_prefetched(stored[name], replicas) for name in arena.names]
    after = [_once_prefetched(stored[name], replicas) for name in arena.names]
    said = [_said(stored[name], versions[name]) for name in arena.names]
    begin = time.monotonic()
    send(arena.kubeconfig, before, IN_FLIGHT)
    middle = time.monotonic()
    send(arena.kubeconfig, after, IN_FLIGHT)
    send(arena.kubeconfig, said, IN_FLIGHT)
    end = time.monotonic()
    sent = sum(len(chain) for chain in (*before, *after, *said))
    return Replayed(len(arena.names) / (middle - begin), sent / (end - begin), sent)


def _until_prefetched(stored: Object, replicas: int | None) -> Chain:
    manifests = _manifests(stored, None)
    for manifest in manifests:
        if manifest["kind"] == "Job" and replicas == 0:
            manifest["spec"]["suspend"] = True
    return [apply(manifest) for manifest in manifests]


def _once_prefetched(stored: Object, replicas: int | None) -> Chain:
    ended = _manifests(stored, None)
    made = {(each["kind"], each["metadata"]["name"]) for each in ended}
    manifests = _manifests(stored, Cached(COMMIT, names.HUB))
    for manifest in manifests:
        if manifest["kind"] == "Deployment" and replicas is not None:
            manifest["spec"]["replicas"] = replicas
    new = [each for each in manifests if (each["kind"], each["metadata"]["name"]) not in made]
    return [*map(apply, new), *(delete(each) for each in ended if each["kind"] in PREFETCH_KINDS)]


def _manifests(stored: Object, cached: Cached | None) -> tuple[Object, ...]:
    observed = Observed(server=VLLMServer.parse(stored), children={}, claim=None, pods=())
    return desired(observed, Settings().defaults, cached).manifests


def _said(stored: Object, versions: list[Version]) -> Chain:
    metadata = {key: stored["metadata"][key] for key in ("name", "namespace", "uid")}
    common = {"apiVersion": stored["apiVersion"], "kind": stored["kind"]}
    calls: list[Call] = []
    told = 0
    for index, version in enumerate(versions):
        if not version.status.get("conditions") or (index and version.status == versions[index - 1].status):
            continue
        calls.append(apply({**common, "metadata": metadata, "status": version.status}, "status"))
        events = counts.expected_events(versions[: index + 1])
        calls += [post_event(_event(common | metadata, condition)) for _, condition in events[told:]]
        told = len(events)
    return calls


def _event(regarding: Object, condition: Object) -> Object:
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": f"{regarding['name']}-", "namespace": regarding["namespace"]},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "type": "Normal",
        "reason": condition["reason"],
        "action": "Reconcile",
        "note": condition["message"][:1000],
        "regarding": regarding,
        "reportingController": "vllm-operator.dev",
        "reportingInstance": "replay",
    }
