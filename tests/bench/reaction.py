"""From a user's edit to the Deployment that it changes, one server at a time."""

import time
from statistics import quantiles

from tests.bench import counts
from tests.bench.arena import Arena
from tests.bench.history import History, Version
from tests.bench.result import Result
from tests.harness.audit import Request

EDITS = 20
EDIT = {"spec": {"engineArgs": {"maxNumSeqs": 32}}}


def reaction(arena: Arena, servers: History, result: Result) -> None:
    """Edit some servers, each at rest, and measure from the answer to the Deployment's new generation."""
    chosen = arena.names[:EDITS]
    mark = arena.audit.mark()
    before = {name: len(servers.versions[name]) for name in chosen}
    with History(arena.api, "Deployment", arena.namespace) as deployments:
        deployments.wait(lambda seen: len(seen) >= len(arena.names), 60, "all Deployments are seen")
        seconds = [_edit(arena, name, deployments, servers) for name in chosen]
    time.sleep(1)
    writes = arena.audit.writes(arena.operator.user, since=mark)
    ways = {name: servers.versions[name][before[name] - 1 :] for name in chosen}
    no_ops = counts.no_op_statuses(writes, ways)
    figures = {
        "edits": len(seconds),
        "ms from answer to Deployment, p50": quantiles(seconds, n=100)[49] * 1000,
        "ms from answer to Deployment, most": max(seconds) * 1000,
        "writes per edit": len(writes) / len(seconds),
        "status writes that changed nothing": no_ops,
        "writes by the operator's user": counts.table(writes),
    }
    result.add("Reaction", figures)
    result.demand(_check(writes, chosen))
    result.demand([f"reaction: {no_ops} status writes changed nothing"] if no_ops else [])


def _edit(arena: Arena, name: str, deployments: History, servers: History) -> float:
    """Edit one server, wait until it is at rest again, and return the seconds to its Deployment's change."""
    old = deployments.versions[name][-1].generation
    arena.api.patch("VLLMServer", arena.namespace, name, EDIT)
    answered = time.monotonic()
    deployments.wait(lambda seen: seen[name][-1].generation > old, 30, f"{name} is rolled")
    servers.wait(lambda seen: seen[name][-1].ready(), 60, f"{name} is Ready again")
    return _since(deployments.versions[name], old) - answered


def _check(writes: list[Request], chosen: list[str]) -> list[str]:
    """One record and one Deployment are written for each edit, and no other child is."""
    found = []
    children = [each for each in writes if each.resource in counts.CHILDREN and each.verb != "delete"]
    for name in chosen:
        own = sorted(each.resource for each in children if counts.server_of(each.name) == name)
        if own != ["controllerrevisions", "deployments"]:
            found.append(f"reaction: {name}: wrote {', '.join(own) or 'no child'}")
    return found


def _since(versions: list[Version], old: int) -> float:
    return next(version.time for version in versions if version.generation > old)
