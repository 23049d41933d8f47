"""From the answer to a user's edit to the operator's write of the Deployment: in the storm, and behind it."""

from collections.abc import Iterable, Sequence
from functools import partial
from statistics import quantiles

from tests.bench import counts
from tests.bench.arena import Arena
from tests.bench.history import History
from tests.bench.result import Result
from tests.harness.api import Object
from tests.harness.audit import Request


def edit_along(arena: Arena, history: History, patience: float) -> None:
    """Edit one server after the other at even steps of a storm's progress, from its begin to its end.

    A storm has come half of its way when all of its servers have a first status, and the whole when all are
    Ready. So the edits fall where the work is, however fast the machine.
    """

    def come(steps: float) -> bool:
        return len(history.told) + len(history.ready) >= steps

    begin, way = len(history.told) + len(history.ready), 2 * len(arena.names)
    for index, name in enumerate(arena.edited):
        steps = begin + way * (index + 0.5) / len(arena.edited)
        history.wait(partial(come, steps), patience, f"{steps:.0f} steps of the storm")
        _edit(arena, name, 32)


def edit_at_rest(arena: Arena, history: History, result: Result) -> None:
    """Edit one server after the other, each when the one before is Ready again."""

    def rests(name: str, generation: int) -> bool:
        return history.versions[name][-1].generation == generation and name in history.ready

    mark = arena.audit.mark()
    before = {name: len(history.versions[name]) for name in arena.edited}
    for name in arena.edited:
        generation = _edit(arena, name, 64)["metadata"]["generation"]
        history.wait(partial(rests, name, generation), 60, f"{name} is Ready again")
    requests = arena.audit.requests(since=mark, leases=False)
    writes = counts.writes(requests, arena.operator.user)
    ways = {name: history.versions[name][before[name] - 1 :] for name in arena.edited}
    no_ops = counts.no_op_statuses(writes, ways)
    figures = reactions(arena, requests) | {
        "writes per edit": len(writes) / len(arena.edited),
        "status writes that changed nothing": no_ops,
        "writes by the operator's user": counts.table(writes),
    }
    result.add("Edits behind the storm", figures)
    result.demand(check_edits(writes, arena.edited))
    result.demand([f"behind the storm: {no_ops} status writes changed nothing"] if no_ops else [])


def reactions(arena: Arena, requests: Sequence[Request]) -> Object:
    """How soon the operator wrote the Deployment of each edited server, by the API server's own clock."""
    written = {
        each.name: counts.seconds(each.time)
        for each in reversed(counts.writes(requests, arena.operator.user))
        if each.resource == "deployments" and each.code == 200
    }
    edits = [
        each
        for each in requests
        if (each.verb, each.resource, each.subresource) == ("patch", "vllmservers", "")
        and each.name in arena.edited
    ]
    took = [
        (written[each.name] - counts.seconds(each.answered)) * 1000 for each in edits if each.name in written
    ]
    percent = quantiles(took, n=100, method="inclusive")
    return {
        "edits": len(edits),
        "ms from the edit's answer to the Deployment's write, p50": percent[49],
        "ms from the edit's answer to the Deployment's write, p99": percent[98],
        "ms from the edit's answer to the Deployment's write, most": max(took),
    }


def check_edits(writes: Iterable[Request], edited: Iterable[str]) -> list[str]:
    """Say where an edit took more or less than a new record, the Deployment, and the old record's end."""
    own: dict[str, list[str]] = {name: [] for name in edited}
    for each in writes:
        if each.resource in counts.CHILDREN and (name := counts.server_of(each.name)) in own:
            own[name].append(counts.label(each))
    wanted = [
        "delete controllerrevisions -> 200",
        "patch controllerrevisions -> 201",
        "patch deployments -> 200",
    ]
    return [
        f"edit of {name}: wrote {', '.join(sorted(made)) or 'no child'}"
        for name, made in own.items()
        if sorted(made) != wanted
    ]


def _edit(arena: Arena, name: str, value: int) -> Object:
    return arena.api.patch(
        "VLLMServer", arena.namespace, name, {"spec": {"engineArgs": {"maxNumSeqs": value}}}
    )
