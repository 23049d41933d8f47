"""All servers at once, with users who edit others meanwhile; and then nothing, and then a restart."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

from tests.bench import counts
from tests.bench.arena import Arena
from tests.bench.edits import check_edits, edit_along, reactions
from tests.bench.history import History, Version
from tests.bench.machine import cpu_seconds, resident_bytes, wait_quiet
from tests.bench.result import Result
from tests.harness.audit import Request
from vllm_operator.controller.cluster import UIDS_PAGE
from vllm_operator.controller.handlers import WATCHED
from vllm_operator.controller.sweep import ROUND_SECONDS

REST_SECONDS = 60.0
MOST_SWEEPS = 1 + int(REST_SECONDS / (ROUND_SECONDS / len(WATCHED) / 2))
"""It lists one kind after the other, with a pause between two that is at least half of the mean one."""
MOST_BYTES, MOST_BYTES_A_SERVER = 90e6, 20e3


def storm(arena: Arena, history: History, result: Result) -> dict[str, float]:
    """Create all servers, edit others meanwhile, and wait until all are Ready; return rates."""
    pid, total = arena.operator.pid, len(arena.names)
    alone = {"CPU": wait_quiet(pid), "bytes": float(resident_bytes(pid))}
    arena.create_servers(arena.namespace, arena.edited)
    history.wait(lambda: len(history.ready) == len(arena.edited), 60 + total, "those to be edited are Ready")
    before = wait_quiet(pid)
    told = _called_for(arena, history)
    mark, begin, clock = arena.audit.mark(), time.monotonic(), time.time()
    with ThreadPoolExecutor(1) as users:
        edits = users.submit(edit_along, arena, history, 60.0 + total)
        arena.create_servers(arena.namespace, arena.names)
        created = time.monotonic()
        edits.result()
    everyone = total + len(arena.edited)
    history.wait(lambda: len(history.ready) == everyone, 60 + total, "all servers are Ready")
    ready = [_first_ready(history.versions[name]) - begin for name in arena.names]
    used, memory = wait_quiet(pid) - before, resident_bytes(pid)
    requests = arena.audit.requests(since=mark, leases=False)
    own = [each for each in requests if each.user == arena.operator.user]
    writes = counts.writes(own, arena.operator.user)
    jobs, deployments = (
        max(counts.seconds(each.time) for each in writes if (each.resource, each.code) == (kind, 201)) - clock
        for kind in ("jobs", "deployments")
    )
    last = max(counts.seconds(each.time) for each in writes) - clock
    # What comes later waits for pods, those of the Jobs first, and not for the operator.
    busy = [each for each in writes if counts.seconds(each.time) - clock <= jobs]
    rates = {"jobs": total / jobs, "ready": total / max(ready), "writes": len(busy) / jobs}
    figures: dict[str, Any] = {
        "servers": total,
        "s until all were created": created - begin,
        "s until all Jobs were made": jobs,
        "s until all Deployments were made": deployments,
        "s until all were Ready": max(ready),
        "s until Ready, median": median(ready),
        "s until the operator's last write": last,
        "servers/s to Jobs made": rates["jobs"],
        "servers/s to Ready": rates["ready"],
        "operator's writes/s until all Jobs were made": rates["writes"],
        "operator's CPU, ms per server": used / total * 1000,
        "operator's CPU, ms per write": used / len(writes) * 1000,
        "operator's memory without servers, MB": alone["bytes"] / 1e6,
        "operator's memory with all, MB": memory / 1e6,
        "operator's memory, kB per server": (memory - alone["bytes"]) / everyone / 1000,
        "CPU from start to quiet without servers, s": alone["CPU"],
    }
    result.add("Storm", figures)
    result.add("Edits of other servers during the storm", reactions(arena, requests))
    result.demand(_check_memory("after the storm", memory, everyone))
    _count(arena, history, own, told, result)
    return rates


def _called_for(arena: Arena, history: History) -> int:
    """How many Events the statuses of all servers so far call for."""
    versions = history.versions
    return sum(len(counts.expected_events(versions[name])) for name in arena.names + arena.edited)


def _count(arena: Arena, history: History, requests: list[Request], told: int, result: Result) -> None:
    storming, total = set(arena.names), len(arena.names)
    writes = counts.writes(requests, arena.operator.user)
    of_storm = [each for each in writes if counts.server_of(each.name) in storming]
    posted = [each for each in writes if each.resource == "events"]
    called_for = _called_for(arena, history) - told
    versions = {name: history.versions[name] for name in arena.names}
    no_ops, repeated = counts.no_op_statuses(of_storm, versions), counts.repeated_statuses(versions)
    paths = Counter(counts.path(each) for each in versions.values())
    figures = {
        "writes but Events per server of the storm": len(of_storm) / total,
        "status writes per server of the storm": sum(counts.status_writes(of_storm).values()) / total,
        "status writes that changed nothing": no_ops,
        "statuses that repeat the one before": repeated,
        "Events": len(posted),
        "Events that the statuses call for": called_for,
        "all requests by the operator's user": counts.table(requests),
        "the ways of Ready's reason": dict(paths.most_common(8)),
    }
    result.add("Storm, counted in the audit log", figures)
    result.demand(counts.check_children(of_storm, arena.names))
    result.demand(check_edits(writes, arena.edited))
    result.demand(counts.check_reads(requests))
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
    requests = arena.audit.requests(arena.operator.user, since=mark, leases=False)
    pages = [each for each in requests if each.verb == "list" and f"limit={UIDS_PAGE}&" in each.uri]
    swept = [each for each in pages if "continue=" not in each.uri]
    asked = [each for each in requests if each.verb != "watch" and each not in pages]
    figures = {
        f"requests in {REST_SECONDS:.0f} s but watches and sweeps": len(asked),
        f"lists of the sweep (at most {MOST_SWEEPS})": len(swept),
        "CPU, % of one": used / REST_SECONDS * 100,
    }
    result.add("Rest", figures)
    result.demand([f"at rest: {kind}: {count}" for kind, count in counts.table(asked).items()])
    result.demand([f"at rest: {len(swept)} lists of the sweep"] if len(swept) > MOST_SWEEPS else [])


def restart(arena: Arena, result: Result) -> None:
    """Start the operator again with all servers there."""
    arena.operator.stop()
    mark, begin = arena.audit.mark(), time.monotonic()
    arena.operator.start()
    used = wait_quiet(arena.operator.pid)
    took = time.monotonic() - begin
    requests = arena.audit.requests(arena.operator.user, since=mark, leases=False)
    writes = counts.writes(requests, arena.operator.user)
    alone = result.figures["Storm"]["CPU from start to quiet without servers, s"]
    memory, everyone = resident_bytes(arena.operator.pid), len(arena.names) + len(arena.edited)
    figures = {
        "writes": len(writes),
        "CPU until quiet, s": used,
        "CPU until quiet, ms per server": (used - alone) / everyone * 1000,
        "s until quiet (at least 2)": took,
        "memory, MB": memory / 1e6,
        "requests but watches": counts.table(each for each in requests if each.verb != "watch"),
    }
    result.add("Restart", figures)
    result.demand([f"restart: {kind}: {count}" for kind, count in counts.table(writes).items()])
    result.demand(counts.check_reads(requests))
    result.demand(_check_memory("after a restart", memory, everyone))


def _check_memory(when: str, used: int, servers: int) -> list[str]:
    most = MOST_BYTES + MOST_BYTES_A_SERVER * servers
    return [f"{when}: {used / 1e6:.0f} MB of memory, not {most / 1e6:.0f}"] if used > most else []


def _first_ready(versions: list[Version]) -> float:
    return next(version.time for version in versions if version.ready())
