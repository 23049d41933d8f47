"""Plays rows of the leaf table on a running operator: a few servers side by side, edit after edit."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.campaign.base import BASES, Spec, edited
from tests.campaign.equipment import furnish
from tests.campaign.table import GONE, OTHER, Row
from tests.campaign.view import NAME, View, difference, expected, view
from tests.cluster import support
from tests.harness.api import Api, ApiError, Object, condition

PATIENCE_SECONDS = 30.0

Outcomes = dict[str, str]
"""What is wrong with each row, by its name; nothing for a row that holds."""


@dataclass(frozen=True)
class Lane:
    """A server in a namespace of its own, and what its children say while its spec is a base."""

    api: Api
    namespace: str
    spec: Spec
    base: View

    @classmethod
    def of_base(cls, api: Api, base: str) -> "Lane":
        """Make a base run in a fresh namespace."""
        namespace = furnish(api)
        put(api, namespace, BASES[base])
        server = support.wait_serving(api, namespace)
        return cls(api, namespace, BASES[base], view(api, namespace, server))

    def play(self, row: Row) -> None:
        """Make a row's change, and wait until all that it tells of is seen. Raises AssertionError."""
        change = edited(self.spec, row.change)
        if row.refused:
            self._is_refused(row, change)
        elif row.stalled:
            self.edit(self.spec, {}, rolls=False)
            put(self.api, self.namespace, change)
            support.wait_stalled(self.api, self.namespace, NAME, *row.stalled)
            found = difference(self.base, self._view())
            assert not {place for place in found if not place.startswith("status.")}, found
        else:
            self.edit(change, expected(self.base, row.seen), rolls=row.touches_pods)

    def edit(self, spec: Spec, wanted: View, *, rolls: bool) -> None:
        """Put a spec, and wait until the children differ from the base's in nothing but what is wanted."""
        wait_looked_at(self.api, self.namespace, put(self.api, self.namespace, spec))

        def holds() -> bool:
            found = difference(self.base, self._view())
            assert ("record" in found) is rolls, f"rolls, or does not: {found}"
            found.pop("record", None)
            if found.get("recipes", GONE) is not GONE:
                found["recipes"] = OTHER
            assert found == wanted, f"seen {found}, not {wanted}"
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


def chosen(request: pytest.FixtureRequest, parameter: str) -> list[str]:
    """The values of a parameter in the tests of this file that are to run: others are not played."""
    here = (item for item in request.session.items if item.path == request.path)
    calls = (getattr(item, "callspec", None) for item in here)
    return list(dict.fromkeys(call.params[parameter] for call in calls if call and parameter in call.params))


def play_all(kubeconfig: Path, rows: Sequence[Row], lanes: Mapping[str, int]) -> Outcomes:
    """Play every row; rows that need a server of their own get it, the others share a few of each base."""
    single = [row for row in rows if row.fresh or row.own]
    with Api(kubeconfig) as api:
        bases = {base: Lane.of_base(api, base).base for base in {row.base for row in single if row.fresh}}
    jobs: list[Callable[[Api], Outcomes]] = []
    for base, count in lanes.items():
        shared = [row for row in rows if row.base == base and row not in single]
        jobs += [partial(_share, shared[number::count], base) for number in range(count)]
    jobs += [partial(_alone, row, bases) for row in single]
    return merged(kubeconfig, jobs, sum(lanes.values()) + 1)


def merged(kubeconfig: Path, jobs: Sequence[Callable[[Api], Outcomes]], lanes: int) -> Outcomes:
    """Do jobs side by side, each with a client of its own, and put their outcomes together."""

    def do(job: Callable[[Api], Outcomes]) -> Outcomes:
        with Api(kubeconfig) as api:
            return job(api)

    with ThreadPoolExecutor(lanes) as pool:
        results = list(pool.map(do, jobs))
    return {name: outcome for result in results for name, outcome in result.items()}


def _share(rows: Sequence[Row], base: str, api: Api) -> Outcomes:
    """Play rows one after the other on one server; what one row changes, the next one has to undo."""
    lane = Lane.of_base(api, base)
    outcomes = {row.name: outcome(partial(lane.play, row)) for row in rows}
    back = partial(lane.edit, lane.spec, {}, rolls=False)
    return outcomes | {f"back to the base in {lane.namespace}": outcome(back)}


def _alone(row: Row, bases: Mapping[str, View], api: Api) -> Outcomes:
    """Play a row on a server of its own."""
    if row.fresh:
        lane = Lane(api, furnish(api), BASES[row.base], bases[row.base])
    else:
        lane = Lane.of_base(api, row.base)
    return {row.name: outcome(partial(lane.play, row))}


def outcome(play: Callable[[], None]) -> str:
    """What is wrong with a play; nothing if it goes well."""
    try:
        play()
    except (AssertionError, ApiError) as error:
        return str(error) or type(error).__name__
    return ""


def wait_looked_at(api: Api, namespace: str, written: Object) -> None:
    """Wait until the operator has said something of a generation: before, nothing need be read."""

    def said(server: Object) -> bool:
        seen = condition(server, "Ready").get("observedGeneration", 0)
        return bool(seen >= written["metadata"]["generation"])

    if not said(written):
        support.history(api, "VLLMServer", namespace, written, said)
