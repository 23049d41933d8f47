"""`python -m tests.bench.quantizations`: a storm of FP8Quantizations, rest, and a restart."""

import argparse
import json
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.bench import counts
from tests.bench.arena import Arena
from tests.bench.client import create, send
from tests.bench.history import History
from tests.bench.machine import resident_bytes, wait_quiet
from tests.bench.result import Result
from tests.bench.storm import rest
from tests.harness import manifests
from tests.harness.api import Object
from tests.harness.audit import Request

KIND = "FP8Quantization"
CLAIM = "weights"
WANTED = Counter(
    {
        "patch serviceaccounts -> 201": 1,
        "patch configmaps -> 201": 1,
        # The programs of the second Job take the place of those of the first.
        "patch configmaps -> 200": 1,
        "delete configmaps -> 200": 1,
        "patch jobs -> 201": 2,
        "delete jobs -> 200": 1,
        # The image, then what is staged as well, then the result as well.
        "patch controllerrevisions -> 201": 3,
        "delete controllerrevisions -> 200": 2,
    }
)
"""What the children of one quantization take, from its creation until it is Ready."""


def main() -> int:
    """Run the bench; the exit code is 1 when a count of DESIGN §10 does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.quantizations", description=__doc__)
    parser.add_argument("--quantizations", type=int, default=500, help="how many are created at once")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    result = Result()
    # The arena's own servers, which are there from the start, have places for cards on their nodes.
    with Arena(arguments.quantizations) as arena:
        arena.api.create(manifests.claim(arena.namespace, CLAIM, "immediate", "10Gi"))
        for node in arena.api.list("Node"):
            cards = {"habana.ai/gaudi": str(arguments.quantizations)}
            status = {"status": {"capacity": cards, "allocatable": cards}}
            arena.api.patch("Node", None, node["metadata"]["name"], status, subresource="status")
        with History(arena.api, KIND, arena.namespace) as history:
            arena.operator.start()
            try:
                _storm(arena, history, result)
                rest(arena, result)
                _restart(arena, result)
            except Exception:
                print(f"--- the operator's log ends:\n{arena.operator.tail()}", file=sys.stderr)
                raise
    if arguments.json:
        arguments.json.write_text(json.dumps(result.as_json(), indent=1) + "\n")
    for violation in result.violations:
        print(f"BROKEN: {violation}")
    print("outside the budgets" if result.violations else "all counts hold", flush=True)
    return 1 if result.violations else 0


def _storm(arena: Arena, history: History, result: Result) -> None:
    pid, total = arena.operator.pid, len(arena.names)
    before, alone = wait_quiet(pid), resident_bytes(pid)
    mark, begin = arena.audit.mark(), time.monotonic()
    send(arena.kubeconfig, [[create(quantization(arena.namespace, name))] for name in arena.names])
    history.wait(lambda: len(history.ready) == total, 120 + total, "all quantizations are Ready")
    took, used = time.monotonic() - begin, wait_quiet(pid) - before
    own = arena.audit.requests(arena.operator.user, since=mark, leases=False)
    writes = counts.writes(own, arena.operator.user)
    versions = {name: history.versions[name] for name in arena.names}
    statuses = sum(counts.status_writes(writes).values())
    posted = [each for each in writes if each.resource == "events"]
    called_for = sum(len(counts.expected_events(each)) for each in versions.values())
    no_ops = counts.no_op_statuses(writes, versions)
    paths = Counter(counts.path(each) for each in versions.values())
    figures: dict[str, Any] = {
        "quantizations": total,
        "s until all were Ready": took,
        "writes but Events per quantization": (len(writes) - len(posted)) / total,
        "status writes per quantization": statuses / total,
        "status writes that changed nothing": no_ops,
        "Events": len(posted),
        "Events that the statuses call for": called_for,
        "operator's CPU, ms per quantization": used / total * 1000,
        "operator's memory, kB per quantization": (resident_bytes(pid) - alone) / total / 1000,
        "all requests": counts.table(own),
        "the ways of Ready's reason": dict(paths.most_common(6)),
    }
    result.add("Storm of quantizations", figures)
    result.demand(_check_children(writes, arena.names))
    result.demand(_check_reads(own))
    result.demand([f"{no_ops} status writes changed nothing"] if no_ops else [])
    if len(posted) != called_for:
        result.demand([f"{len(posted)} Events posted, {called_for} called for by the conditions"])
    result.demand([f"refused: {counts.label(each)} {each.name}" for each in writes if each.code >= 400])


def _check_reads(requests: list[Request]) -> list[str]:
    """A given claim is not watched: it is read once for each quantization; all else is as for servers."""
    claims = [each for each in requests if (each.verb, each.name) == ("get", CLAIM)]
    others = [each for each in requests if each not in claims]
    named = len({each.name for each in requests if each.resource == "fp8quantizations" and each.name})
    most = [f"the claim was read {len(claims)} times by {named}"] if len(claims) > named else []
    return counts.check_reads(others) + most


def _check_children(writes: list[Request], names: list[str]) -> list[str]:
    """Say where the children of a quantization took more or fewer writes than they should."""
    made: dict[str, Counter[str]] = {name: Counter() for name in names}
    for each in writes:
        name = counts.server_of(each.name)
        if each.resource not in ("events", "fp8quantizations") and name in made:
            made[name][counts.label(each)] += 1
    return [
        f"{name}: {counted[kind]} times {kind}, not {WANTED[kind]}"
        for name, counted in made.items()
        for kind in sorted(counted.keys() | WANTED.keys())
        if counted[kind] != WANTED[kind]
    ]


def _restart(arena: Arena, result: Result) -> None:
    arena.operator.stop()
    mark = arena.audit.mark()
    arena.operator.start()
    used = wait_quiet(arena.operator.pid)
    requests = arena.audit.requests(arena.operator.user, since=mark, leases=False)
    writes = counts.writes(requests, arena.operator.user)
    figures = {
        "writes": len(writes),
        "CPU until quiet, s": used,
        "memory, MB": resident_bytes(arena.operator.pid) / 1e6,
    }
    result.add("Restart", figures)
    result.demand([f"restart: {kind}: {count}" for kind, count in counts.table(writes).items()])


def quantization(namespace: str, name: str) -> Object:
    """An FP8Quantization as it is created."""
    spec = {
        "model": {"name": "org/model", "trustRemoteCode": True},
        "cache": {"claimName": CLAIM},
        "dataset": {"huggingFace": {"name": "org/data"}},
    }
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "vllm-operator.dev/v1alpha1", "kind": KIND, "metadata": metadata, "spec": spec}


if __name__ == "__main__":
    sys.exit(main())
