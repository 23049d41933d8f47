"""All servers at once, and then nothing, and then a restart."""

import time
from datetime import datetime
from statistics import median
from typing import Any

from tests.bench import counts
from tests.bench.arena import Arena
from tests.bench.history import History, Version
from tests.bench.machine import cpu_seconds, resident_bytes, wait_quiet
from tests.bench.result import Result
from tests.harness.audit import WRITES, Request

REST_SECONDS = 15.0


def storm(arena: Arena, history: History, result: Result) -> dict[str, float]:
    """Create all servers and wait until all are Ready; return the operator's rates."""
    pid, total = arena.operator.pid, len(arena.names)
    empty_cpu, empty_bytes = wait_quiet(pid), resident_bytes(pid)
    mark, begin, clock = arena.audit.mark(), time.monotonic(), time.time()
    arena.create_servers(arena.namespace)
    created = time.monotonic()
    history.wait(lambda seen: _all_ready(seen, arena.names), 60 + total, "all servers are Ready")
    ready = [_first_ready(history.versions[name]) - begin for name in arena.names]
    used, memory = wait_quiet(pid) - empty_cpu, resident_bytes(pid)
    requests = arena.audit.requests(arena.operator.user, since=mark)
    writes = [each for each in requests if each.verb in WRITES]
    children = max(_seconds(each) for each in writes if each.resource == "deployments") - clock
    last = max(map(_seconds, writes)) - clock
    rates = {"children": total / children, "ready": total / max(ready), "writes": len(writes) / last}
    figures: dict[str, Any] = {
        "servers": total,
        "s until all were created": created - begin,
        "s until all children were made": children,
        "s until all were Ready": max(ready),
        "s until Ready, median": median(ready),
        "s until the operator's last write": last,
        "servers/s to children made": rates["children"],
        "servers/s to Ready": rates["ready"],
        "operator's writes/s": rates["writes"],
        "operator's CPU, ms per server": used / total * 1000,
        "operator's CPU, ms per write": used / len(writes) * 1000,
        "operator's memory without servers, MB": empty_bytes / 1e6,
        "operator's memory with all, MB": memory / 1e6,
        "operator's memory, kB per server": (memory - empty_bytes) / total / 1000,
        "CPU from start to quiet without servers, s": empty_cpu,
    }
    result.add("Storm", figures)
    _count(arena, history, requests, result)
    return rates


def _count(arena: Arena, history: History, requests: list[Request], result: Result) -> None:
    writes = [each for each in requests if each.verb in WRITES]
    total, versions = len(arena.names), history.versions
    posted = [each for each in writes if each.resource == "events"]
    called_for = sum(len(counts.expected_events(versions[name])) for name in arena.names)
    no_ops, repeated = counts.no_op_statuses(writes, versions), counts.repeated_statuses(versions)
    paths: dict[str, int] = {}
    for name in arena.names:
        path = counts.path(versions[name])
        paths[path] = paths.get(path, 0) + 1
    figures = {
        "requests per server, writes": len(writes) / total,
        "requests per server, reads": len(counts.reads(requests)) / total,
        "status writes per server": sum(counts.status_writes(writes).values()) / total,
        "status writes that changed nothing": no_ops,
        "statuses that repeat the one before": repeated,
        "Events": len(posted),
        "Events that the statuses call for": called_for,
        "all requests by the operator's user": counts.table(requests),
        "the ways of Ready's reason": dict(sorted(paths.items(), key=lambda item: -item[1])[:8]),
    }
    result.add("Storm, counted in the audit log", figures)
    result.demand(counts.check_children(writes, arena.names))
    result.demand([f"{no_ops} status writes changed nothing"] if no_ops else [])
    result.demand([f"{repeated} statuses repeat the one before"] if repeated else [])
    if len(posted) != called_for:
        result.demand([f"{len(posted)} Events posted, {called_for} called for by the conditions"])
    result.demand([f"refused: {counts.label(each)} {each.name}" for each in writes if each.code >= 400])


def rest(arena: Arena, result: Result) -> None:
    """Look whether the operator does nothing while nothing happens."""
    mark, before = arena.audit.mark(), cpu_seconds(arena.operator.pid)
    time.sleep(REST_SECONDS)
    used = cpu_seconds(arena.operator.pid) - before
    requests = arena.audit.requests(arena.operator.user, since=mark)
    asked = [each for each in requests if each.verb != "watch" and each.resource != "leases"]
    figures = {
        f"requests in {REST_SECONDS:.0f} s but watches": len(asked),
        "CPU, % of one": used / REST_SECONDS * 100,
    }
    result.add("Rest", figures)
    result.demand([f"at rest: {kind}: {count}" for kind, count in counts.table(asked).items()])


def restart(arena: Arena, result: Result) -> None:
    """Start the operator again with all servers there."""
    arena.operator.stop()
    mark, begin = arena.audit.mark(), time.monotonic()
    arena.operator.start()
    used = wait_quiet(arena.operator.pid)
    took = time.monotonic() - begin
    requests = [
        each for each in arena.audit.requests(arena.operator.user, since=mark) if each.resource != "leases"
    ]
    writes = [each for each in requests if each.verb in WRITES]
    alone = result.figures["Storm"]["CPU from start to quiet without servers, s"]
    figures = {
        "writes": len(writes),
        "CPU until quiet, s": used,
        "CPU until quiet, ms per server": (used - alone) / len(arena.names) * 1000,
        "s until quiet (at least 2)": took,
        "memory, MB": resident_bytes(arena.operator.pid) / 1e6,
        "requests but watches": counts.table(each for each in requests if each.verb != "watch"),
    }
    result.add("Restart", figures)
    result.demand([f"restart: {kind}: {count}" for kind, count in counts.table(writes).items()])


def _all_ready(seen: dict[str, list[Version]], names: list[str]) -> bool:
    return all(seen[name] and seen[name][-1].ready() for name in names)


def _first_ready(versions: list[Version]) -> float:
    return next(version.time for version in versions if version.ready())


def _seconds(request: Request) -> float:
    return datetime.fromisoformat(request.time).timestamp()
