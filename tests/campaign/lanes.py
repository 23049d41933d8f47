"""Plays rows of the leaf table on a running operator: a few servers side by side, edit after edit."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from tests.campaign.base import BASE, Spec, edited
from tests.campaign.equipment import furnish
from tests.campaign.table import Row
from tests.campaign.view import NAME, View, difference, expected, view
from tests.cluster import support
from tests.harness.api import Api, ApiError, Object, condition

PATIENCE_SECONDS = 30.0

Outcomes = dict[str, str]
"""What is wrong with each row, by its name; nothing for a row that holds."""


@dataclass(frozen=True)
class Lane:
    """A server in a namespace of its own, and what its children say while its spec is the base."""

    api: Api
    namespace: str
    base: View

    @classmethod
    def of_base(cls, api: Api) -> "Lane":
        """Make the base run in a fresh namespace."""
        namespace = furnish(api)
        put(api, namespace, BASE)
        server = support.wait_serving(api, namespace)
        return cls(api, namespace, view(api, namespace, server))

    def play(self, row: Row) -> None:
        """Make a row's change, and wait until all that it tells of is seen. Raises AssertionError."""
        change = edited(BASE, row.change)
        if row.refused:
            self._is_refused(row, change)
        elif row.stalled:
            put(self.api, self.namespace, BASE)
            self.wait_for({}, rolls=False)
            put(self.api, self.namespace, change)
            support.wait_stalled(self.api, self.namespace, NAME, *row.stalled)
            found = difference(self.base, self._view())
            assert not {place for place in found if not place.startswith("status.")}, found
        else:
            put(self.api, self.namespace, change)
            self.wait_for(expected(self.base, row.seen), rolls=row.touches_pods)

    def wait_for(self, wanted: View, *, rolls: bool) -> None:
        """Wait until the children differ from those of the base in nothing but what is wanted."""

        def holds() -> bool:
            if not _is_looked_at(self.api, self.namespace):
                return False
            found = difference(self.base, self._view())
            assert (found.pop("record", None) is not None) is rolls, f"rolls, or does not: {found}"
            assert found == wanted
            return True

        self.api.wait_for(holds, PATIENCE_SECONDS, "what the row tells of")

    def _view(self) -> View:
        server = support.child(self.api, self.namespace, "VLLMServer", NAME)
        return view(self.api, self.namespace, server)

    def _is_refused(self, row: Row, change: Spec) -> None:
        before = support.child(self.api, self.namespace, "VLLMServer", NAME)
        answer = "the API server took it"
        try:
            put(self.api, self.namespace, change)
        except ApiError as error:
            answer = error.message
        assert row.refused in answer, answer
        after = support.child(self.api, self.namespace, "VLLMServer", NAME)
        assert after["spec"] == before["spec"]


def put(api: Api, namespace: str, spec: Spec) -> Object:
    """Apply the campaign's server as its author does: fields that are left out go."""
    return support.put(api, support.server(namespace, NAME) | {"spec": spec})


def play_all(api: Api, rows: Sequence[Row], lanes: int) -> Outcomes:
    """Play every row; rows that need a server of their own get it, the others share a few."""
    shared = [row for row in rows if not (row.fresh or row.own)]
    single = [row for row in rows if row.fresh or row.own]
    running = Lane.of_base(api)
    jobs = [partial(_share, running, shared[::lanes])]
    jobs += [partial(_share_anew, api, shared[number::lanes]) for number in range(1, lanes)]
    jobs += [partial(_alone, api, running.base, row) for row in single]
    with ThreadPoolExecutor(lanes + 1) as pool:
        results = list(pool.map(lambda job: job(), jobs))
    return {name: outcome for result in results for name, outcome in result.items()}


def _share(lane: Lane, rows: Sequence[Row]) -> Outcomes:
    """Play rows one after the other on one server; what one row changes, the next one has to undo."""
    outcomes = {row.name: _outcome(partial(lane.play, row)) for row in rows}
    put(lane.api, lane.namespace, BASE)
    back = partial(lane.wait_for, {}, rolls=False)
    return outcomes | {f"back to the base in {lane.namespace}": _outcome(back)}


def _share_anew(api: Api, rows: Sequence[Row]) -> Outcomes:
    return _share(Lane.of_base(api), rows)


def _alone(api: Api, base: View, row: Row) -> Outcomes:
    """Play a row on a server of its own."""
    lane = Lane(api, furnish(api), base) if row.fresh else Lane.of_base(api)
    return {row.name: _outcome(partial(lane.play, row))}


def _outcome(play: Callable[[], None]) -> str:
    try:
        play()
    except (AssertionError, ApiError) as error:
        return str(error) or type(error).__name__
    return ""


def _is_looked_at(api: Api, namespace: str) -> bool:
    """Whether the operator has said something of the present generation: before, nothing need be read."""
    server = support.child(api, namespace, "VLLMServer", NAME)
    seen = condition(server, "Ready").get("observedGeneration")
    if seen != server["metadata"]["generation"]:
        time.sleep(0.02)
        return False
    return True
