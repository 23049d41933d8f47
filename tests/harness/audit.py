"""Who asked the API server for what, read from its audit log."""

import json
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.harness.api import Api

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_MARK = "audit-mark-"


@dataclass(frozen=True, slots=True)
class Request:
    """One finished request; `time` is when the server received it, `answered` when it had answered it.

    Both are RFC 3339 with microseconds, by the server's own clock. `message` holds its words when it said no.
    """

    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int
    user: str
    time: str
    answered: str
    uri: str
    message: str


class Audit:
    """Reads an audit log as it grows; a watch appears only once it has ended.

    The server writes an entry after it has answered, so every look first sends a request of its own and waits
    until the log holds it: what was answered before is then there too.
    """

    def __init__(self, path: Path, api: Api):
        """Read the log at `path`, written by the server that `api` talks to."""
        self._path = path
        self._api = api
        self._file: IO[bytes] | None = None
        self._rest = b""
        self._requests: list[Request] = []
        self._marks: set[str] = set()

    def close(self) -> None:
        """Close the log."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def mark(self) -> int:
        """Return a point in time to count from, for `since`."""
        self._catch_up()
        return len(self._requests)

    def requests(
        self,
        user: str | None = None,
        namespace: str | Collection[str] | None = None,
        verbs: Collection[str] | None = None,
        since: int = 0,
        leases: bool = True,
    ) -> list[Request]:
        """Return all finished requests that fit, refused ones too, in the order of their end."""
        self._catch_up()
        places = [namespace] if isinstance(namespace, str) else namespace
        return [
            each
            for each in self._requests[since:]
            if (user is None or each.user == user)
            and (places is None or each.namespace in places)
            and (verbs is None or each.verb in verbs)
            and (leases or each.resource != "leases")
        ]

    def writes(
        self,
        user: str | None = None,
        namespace: str | Collection[str] | None = None,
        since: int = 0,
        leases: bool = False,
    ) -> list[Request]:
        """Return the writing requests that fit, refused ones too; Leases only when asked for."""
        return self.requests(user, namespace, WRITES, since, leases)

    def _catch_up(self) -> None:
        mark = f"{_MARK}{uuid.uuid4().hex}"
        self._api.get("Namespace", None, mark)
        deadline = time.monotonic() + 30
        while mark not in self._marks:
            if not self._read() and time.monotonic() > deadline:
                raise TimeoutError(f"{self._path} shows nothing of a request that was answered 30 s ago")
        self._marks.clear()

    def _read(self) -> bool:
        """Take in what the log has gained; say whether that was anything, after a short rest if not."""
        if self._file is None and self._path.exists():
            self._file = self._path.open("rb")
        gained = self._file.read() if self._file is not None else b""
        if not gained:
            time.sleep(0.005)
            return False
        *lines, self._rest = (self._rest + gained).split(b"\n")
        for line in lines:
            self._take(json.loads(line))
        return True

    def _take(self, event: dict[str, Any]) -> None:
        target, answer = event.get("objectRef", {}), event.get("responseStatus", {})
        name = target.get("name", "")
        if name.startswith(_MARK):
            self._marks.add(name)
            return
        self._requests.append(
            Request(
                verb=event["verb"],
                group=target.get("apiGroup", ""),
                resource=target.get("resource", ""),
                subresource=target.get("subresource", ""),
                namespace=target.get("namespace", ""),
                name=name,
                code=answer.get("code", 0),
                user=event["user"]["username"],
                time=event["requestReceivedTimestamp"],
                answered=event["stageTimestamp"],
                uri=event["requestURI"],
                message=answer.get("message", ""),
            )
        )
