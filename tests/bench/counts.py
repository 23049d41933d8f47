"""Counts what the operator wrote, and what it should have written."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise

from tests.bench.history import Version
from tests.harness.api import Object
from tests.harness.audit import WRITES, Request

PREFETCH = ("configmaps", "jobs")
"""Children that are there only until the cache is filled."""
CHILDREN = (
    *("serviceaccounts", "persistentvolumeclaims", "services", *PREFETCH),
    *("controllerrevisions", "deployments"),
)
WANTED = Counter(
    [f"patch {each} -> 201" for each in CHILDREN] + [f"delete {each} -> 200" for each in PREFETCH]
)
"""What the children of one server take, from its creation until it is Ready."""


def label(request: Request) -> str:
    """Name a kind of request, such as `patch deployments -> 201`."""
    what = f"{request.resource}/{request.subresource}" if request.subresource else request.resource
    return f"{request.verb} {what} -> {request.code}"


def table(requests: Iterable[Request]) -> dict[str, int]:
    """Count requests of each kind."""
    return dict(sorted(Counter(label(each) for each in requests).items()))


def writes(requests: Iterable[Request], user: str) -> list[Request]:
    """The writing requests of a user, but for those that an overloaded server failed to answer."""
    return [each for each in requests if each.user == user and each.verb in WRITES and each.code < 500]


def seconds(time: str) -> float:
    """A time of the audit log, in seconds since 1970."""
    return datetime.fromisoformat(time).timestamp()


def check_reads(requests: Iterable[Request]) -> list[str]:
    """Say what was read of single objects, but for one look at each place where a child was then created."""
    looks: Counter[tuple[str, str]] = Counter()
    found = []
    for each in requests:
        # Of a log no watch tells.
        if each.verb == "get" and each.name and each.subresource != "log":
            looks[each.resource, each.name] += each.code < 500
            if each.code < 400:
                found.append(f"{label(each)} {each.name}: a read of what the watches tell")
        elif each.verb == "patch" and (each.code == 201 or each.code >= 500):
            looks[each.resource, each.name] -= 1
    return found + [
        f"{name}: {count} more looks at {resource} than creations"
        for (resource, name), count in looks.items()
        if count > 0
    ]


def server_of(child: str) -> str:
    """The server that an object belongs to; the bench gives servers names without a dash."""
    return child.partition("-")[0]


def check_children(writes: Sequence[Request], servers: Iterable[str]) -> list[str]:
    """Say where a server's children took more or fewer writes than they should, or went too early."""
    made: dict[str, list[Request]] = {server: [] for server in servers}
    for each in writes:
        if each.resource in CHILDREN and (server := server_of(each.name)) in made:
            made[server].append(each)
    found = []
    for server, own in made.items():
        counted = Counter(map(label, own))
        for kind in sorted(counted.keys() | WANTED.keys()):
            if counted[kind] != WANTED[kind]:
                found.append(f"{server}: {counted[kind]} times {kind}, not {WANTED[kind]}")
        found += [f"{server}: {label(each)} before there was a record" for each in _early(own)]
    return found


def _early(writes: Sequence[Request]) -> list[Request]:
    """Deletes of one server that came before its record: what the Job had found was then written nowhere."""
    recorded = [each.answered for each in writes if label(each) == "patch controllerrevisions -> 201"]
    return [each for each in writes if each.verb == "delete" and each.time < min(recorded, default="9")]


def status_writes(writes: Iterable[Request]) -> Counter[str]:
    """Successful status writes of each server."""
    return Counter(each.name for each in writes if each.subresource == "status" and each.code == 200)


def status_changes(versions: Sequence[Version]) -> int:
    """Versions that a status write has made: all but the first, and those that came with a new spec."""
    return sum(after.generation == before.generation for before, after in pairwise(versions))


def no_op_statuses(writes: Iterable[Request], versions: dict[str, list[Version]]) -> int:
    """Status writes that were answered, and left the resourceVersion as it was: no version came of them."""
    written = status_writes(writes)
    return sum(max(0, written[name] - status_changes(versions[name])) for name in written)


def repeated_statuses(versions: dict[str, list[Version]]) -> int:
    """Versions whose status says the same as the one before, though something else had changed."""
    return sum(
        after.status == before.status and after.generation == before.generation
        for each in versions.values()
        for before, after in pairwise(each)
    )


def expected_events(versions: Sequence[Version]) -> list[tuple[str, Object]]:
    """The Events that a server's statuses call for: one for each reason that is new to a condition."""
    told: list[tuple[str, Object]] = []
    before: dict[str, tuple[str, str]] = {}
    for version in versions:
        conditions = version.status.get("conditions") or []
        now = {each["type"]: (each["status"], each["reason"]) for each in conditions}
        changed = {
            each["reason"]: each
            for each in reversed(conditions)
            if before.get(each["type"]) != now[each["type"]]
        }
        told += changed.items()
        before = now
    return told


def path(versions: Sequence[Version]) -> str:
    """The reasons of Ready through a server's statuses, such as `RollingOut > Serving`."""
    reasons: list[str] = []
    for version in versions:
        ready = next((c for c in version.status.get("conditions") or [] if c["type"] == "Ready"), None)
        if ready is not None:
            reasons.append(
                f"{ready['reason']}{'' if ready['observedGeneration'] == version.generation else '?'}"
            )
    return " > ".join(reasons)
