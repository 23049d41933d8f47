"""The elector against an API server in memory, in virtual time."""

import asyncio
import copy
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.unit.virtual import now, run
from vllm_operator.api.seen import Manifest, Ref
from vllm_operator.controller import leader
from vllm_operator.controller.leader import Elector, LostError
from vllm_operator.controller.outcome import ApiError

SYSTEM = "system"
MICRO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


class Memory:
    """One Lease, with resourceVersions and watches, as an API server keeps it."""

    def __init__(self) -> None:
        self.lease: Manifest | None = None
        self.version = 0
        self.writes: list[tuple[float, str]] = []
        """When, and which holder was written."""
        self.watchers: list[asyncio.Queue[Manifest | None]] = []

    def store(self, lease: Manifest | None) -> Manifest:
        """Change the Lease and tell the watchers, whoever does it."""
        self.version += 1
        if lease is not None:
            lease = copy.deepcopy(lease)
            lease["metadata"]["resourceVersion"] = str(self.version)
        self.lease = lease
        for watcher in self.watchers:
            watcher.put_nowait(copy.deepcopy(lease))
        return copy.deepcopy(lease) or {}

    def edit(self, **spec: Any) -> None:
        """Change fields of the record, as an administrator does."""
        assert self.lease is not None
        self.store({**self.lease, "spec": {**self.lease["spec"], **spec}})

    @property
    def spec(self) -> dict[str, Any]:
        assert self.lease is not None
        return dict(self.lease["spec"])


class Line:
    """One operator's way to it, with faults."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.requests: list[str] = []
        self.fault: Callable[[str], BaseException | None] = lambda _: None
        """Raised before anything is done."""
        self.hangs = False
        self.answers = True
        """False: requests arrive, and their answers are lost."""

    async def _pass(self, verb: str) -> None:
        self.requests.append(verb)
        if fault := self.fault(verb):
            raise fault
        await asyncio.sleep(1000 if self.hangs else 0)

    async def _answer(self, answer: Manifest | None) -> Manifest | None:
        if not self.answers:
            await asyncio.sleep(1000)
        return copy.deepcopy(answer)

    async def get(self, ref: Ref, namespace: str) -> Manifest | None:
        assert (ref, namespace) == (("Lease", "vllm-operator"), SYSTEM)
        await self._pass("get")
        return await self._answer(self.memory.lease)

    async def post(self, manifest: Manifest) -> Manifest:
        await self._pass("post")
        if self.memory.lease is not None:
            raise ApiError(409, "already exists")
        return await self._write(manifest)

    async def put(self, manifest: Manifest) -> Manifest:
        await self._pass("put")
        if self.memory.lease is None:
            raise ApiError(404, "not found")
        if manifest["metadata"]["resourceVersion"] != self.memory.lease["metadata"]["resourceVersion"]:
            raise ApiError(409, "the object has been modified")
        return await self._write(manifest)

    async def _write(self, manifest: Manifest) -> Manifest:
        self.memory.writes.append((now(), manifest["spec"]["holderIdentity"]))
        answer = await self._answer(self.memory.store(manifest))
        assert answer is not None
        return answer

    async def watch(self, ref: Ref, namespace: str, version: str) -> AsyncGenerator[Manifest | None, None]:
        await self._pass("watch")
        queue: asyncio.Queue[Manifest | None] = asyncio.Queue()
        if version != (self.memory.lease or {"metadata": {}})["metadata"].get("resourceVersion", ""):
            queue.put_nowait(copy.deepcopy(self.memory.lease))
        self.memory.watchers.append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            if queue in self.memory.watchers:
                self.memory.watchers.remove(queue)


def elector(line: Line, name: str, skew: float = 0.0) -> Elector:
    return Elector(line, SYSTEM, name, lambda: now() + skew)


@asynccontextmanager
async def running(work: Any) -> Any:
    """Something that goes on beside the test."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def lead(memory: Memory, name: str = "one") -> tuple[Elector, Line]:
    """An elector that has just taken a Lease that nobody held."""
    line = Line(memory)
    made = elector(line, name)
    await made.acquire()
    return made, line


def test_constants_leave_room() -> None:
    """What a leader sends last has time to arrive, and a renewal may fail once."""
    assert leader.TERM_SECONDS < leader.LEASE_SECONDS
    assert leader.RENEW_SECONDS + leader.REQUEST_SECONDS + leader.RETRY_SECONDS < leader.TERM_SECONDS


def test_a_lease_that_is_not_there_is_created() -> None:
    async def main() -> None:
        memory = Memory()
        one, line = await lead(memory)
        assert one.holds()
        assert not one.following
        assert line.requests == ["get", "post"]
        assert memory.lease is not None
        assert memory.lease["metadata"]["name"] == "vllm-operator"
        assert memory.lease["metadata"]["namespace"] == SYSTEM
        spec = memory.spec
        assert MICRO.fullmatch(spec.pop("acquireTime"))
        assert MICRO.fullmatch(spec.pop("renewTime"))
        assert spec == {"holderIdentity": "one", "leaseDurationSeconds": 15, "leaseTransitions": 0}

    run(main())


def test_a_leader_renews_and_asks_nothing_else() -> None:
    async def main() -> None:
        memory = Memory()
        one, line = await lead(memory)
        before = memory.spec
        async with running(one.hold()):
            await asyncio.sleep(60.5)
            assert one.holds()
        assert line.requests == ["get", "post"] + ["put"] * 15
        after = memory.spec
        assert after.pop("renewTime") > before.pop("renewTime")
        assert after == before

    run(main())


def test_a_term_ends_by_itself() -> None:
    async def main() -> None:
        one, _ = await lead(Memory())
        await asyncio.sleep(leader.TERM_SECONDS - 0.1)
        assert one.holds()
        await asyncio.sleep(0.2)
        assert not one.holds()

    run(main())


def test_two_that_start_together_agree(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        memory = Memory()
        lines = [Line(memory), Line(memory)]
        one, two = (elector(line, name) for line, name in zip(lines, ("one", "two"), strict=True))
        async with running(one.acquire()) as first, running(two.acquire()) as second:
            await asyncio.sleep(5)
            assert (first.done(), second.done()) == (True, False)
            assert (one.holds(), two.holds()) == (True, False)
            assert [holder for _, holder in memory.writes] == ["one"]
        assert lines[1].requests == ["get", "post", "get", "watch"]
        await two.release()
        assert memory.spec["holderIdentity"] == "one", "what was claimed in vain is not given back"

    run(main())
    assert not [each for each in caplog.records if each.levelname == "WARNING"], "to be second is no fault"


def test_a_standby_writes_nothing_and_asks_nothing_at_rest() -> None:
    async def main() -> None:
        memory = Memory()
        one, _ = await lead(memory)
        line = Line(memory)
        two = elector(line, "two")
        async with running(one.hold()), running(two.acquire()) as standby:
            await asyncio.sleep(3600)
            assert not standby.done()
            assert two.following
            assert not two.holds()
        assert line.requests == ["get", "watch"]
        assert {holder for _, holder in memory.writes} == {"one"}

    run(main())


def test_a_lease_that_is_given_back_is_taken_at_once() -> None:
    async def main() -> None:
        memory = Memory()
        one, _ = await lead(memory)
        two = elector(Line(memory), "two")
        async with running(one.hold()) as holding, running(two.acquire()) as standby:
            await asyncio.sleep(7)
            holding.cancel()
            await one.release()
            assert not one.holds()
            assert memory.spec["holderIdentity"] == ""
            assert memory.spec["leaseDurationSeconds"] == 1
            released = now()
            await standby
            assert now() == released
        spec = memory.spec
        assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("two", 1)
        assert two.holds()
        assert not two.following

    run(main())


@pytest.mark.parametrize("skew", [-1e6, 0.0, 1e6])
def test_a_silent_leader_is_waited_for(skew: float) -> None:
    """The lease's own duration by the standby's own clock, whatever that shows."""

    async def main() -> None:
        memory = Memory()
        one, _ = await lead(memory)
        two = elector(Line(memory), "two", skew)
        async with running(one.hold()) as holding, running(two.acquire()) as standby:
            await asyncio.sleep(9)
            holding.cancel()  # its last renewal was at 8
            await standby
        assert now() == pytest.approx(8 + leader.LEASE_SECONDS)
        assert memory.spec["leaseTransitions"] == 1
        assert not one.holds()

    run(main())


def test_a_standby_that_has_just_come_waits_in_full() -> None:
    """It has not seen for how long the leader has been silent, and believes no time that is written down."""

    async def main() -> None:
        memory = Memory()
        await lead(memory)
        await asyncio.sleep(1000)
        await elector(Line(memory), "two").acquire()
        assert now() == pytest.approx(1000 + leader.LEASE_SECONDS)

    run(main())


def test_an_edit_that_is_no_renewal_does_not_count() -> None:
    async def main() -> None:
        memory = Memory()
        await lead(memory)
        two = elector(Line(memory), "two")
        async with running(two.acquire()) as standby:
            for _ in range(5):
                await asyncio.sleep(2)
                assert memory.lease is not None
                memory.lease["metadata"]["annotations"] = {"seen": str(now())}
                memory.store(memory.lease)
            await standby
        assert now() == pytest.approx(leader.LEASE_SECONDS)
        assert memory.lease is not None
        assert memory.lease["metadata"]["annotations"] == {"seen": "10.0"}, "others' words are kept"

    run(main())


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"holderIdentity": None, "leaseDurationSeconds": None, "leaseTransitions": None},
        {"holderIdentity": "", "renewTime": "no time", "acquireTime": 7, "leaseTransitions": 4},
        {"leaseDurationSeconds": 2**31 - 1, "strategy": "OldestEmulationVersion"},
    ],
)
def test_whatever_names_no_holder_is_free(spec: dict[str, Any]) -> None:
    async def main() -> None:
        memory = Memory()
        memory.store({"metadata": {"name": "vllm-operator"}, "spec": spec})
        await elector(Line(memory), "two").acquire()
        assert now() == 0
        assert memory.spec["holderIdentity"] == "two"
        assert memory.spec["leaseTransitions"] == (spec.get("leaseTransitions") or 0) + 1
        assert MICRO.fullmatch(memory.spec["acquireTime"])

    run(main())


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [
        ({"holderIdentity": "other"}, leader.LEASE_SECONDS),
        ({"holderIdentity": "other", "leaseDurationSeconds": None, "renewTime": "?"}, leader.LEASE_SECONDS),
        ({"holderIdentity": "other", "leaseDurationSeconds": 0}, leader.LEASE_SECONDS),
        ({"holderIdentity": "other", "leaseDurationSeconds": 40}, 40),
        ({"holderIdentity": "other", "renewTime": "2020-01-01T00:00:00Z", "leaseDurationSeconds": 9}, 9),
        ({"holderIdentity": "other", "renewTime": "2999-01-01T00:00:00.000000Z"}, leader.LEASE_SECONDS),
    ],
)
def test_another_holder_is_waited_for_whatever_its_times_say(spec: dict[str, Any], seconds: float) -> None:
    async def main() -> None:
        memory = Memory()
        memory.store({"metadata": {"name": "vllm-operator"}, "spec": spec})
        await elector(Line(memory), "two").acquire()
        assert now() == pytest.approx(seconds)

    run(main())


def test_a_lease_that_is_deleted_under_its_leader_is_not_taken_by_another() -> None:
    async def main() -> None:
        memory = Memory()
        one, _ = await lead(memory)
        two = elector(Line(memory), "two")
        async with running(one.hold()) as holding, running(two.acquire()) as standby:
            await asyncio.sleep(5)
            memory.store(None)
            await asyncio.sleep(60)
            assert not holding.done()
            assert not standby.done()
        assert memory.spec["holderIdentity"] == "one"
        assert {holder for _, holder in memory.writes} == {"one"}

    run(main())


def test_a_lease_that_is_deleted_with_its_leader_dead_is_free_after_its_time() -> None:
    """A wrong duration (here 68 years) is then no obstacle."""

    async def main() -> None:
        memory = Memory()
        await lead(memory)
        memory.edit(leaseDurationSeconds=2**31 - 1)
        async with running(elector(Line(memory), "two").acquire()) as standby:
            await asyncio.sleep(100)
            assert not standby.done()
            memory.store(None)
            await standby
        assert now() < 102
        assert memory.spec["holderIdentity"] == "two"

    run(main())


def test_a_leader_that_finds_another_holder_stops_at_once() -> None:
    async def main() -> None:
        memory = Memory()
        one, _ = await lead(memory)
        memory.edit(holderIdentity="other")
        with pytest.raises(LostError, match="other holds"):
            await one.hold()
        assert now() == leader.RENEW_SECONDS
        assert not one.holds()
        await one.release()
        assert memory.spec["holderIdentity"] == "other"

    run(main())


def test_somebody_elses_edit_of_the_lease_loses_nothing() -> None:
    async def main() -> None:
        memory = Memory()
        one, _ = await lead(memory)
        async with running(one.hold()) as holding:
            for _ in range(30):
                await asyncio.sleep(1.9)
                memory.edit(leaseTransitions=7)
            assert not holding.done()
            assert one.holds()
        assert memory.spec["leaseTransitions"] == 7

    run(main())


FAULTS: dict[str, Callable[[Line], None]] = {
    "refused": lambda line: setattr(line, "fault", lambda _: ApiError(403, "no")),
    "overloaded": lambda line: setattr(line, "fault", lambda _: ApiError(429, "later", 1)),
    "down": lambda line: setattr(line, "fault", lambda _: ConnectionRefusedError()),
    "hangs": lambda line: setattr(line, "hangs", True),
    "answers are lost": lambda line: setattr(line, "answers", False),
}


@pytest.mark.parametrize("cut", FAULTS.values(), ids=FAULTS.keys())
def test_a_leader_that_cannot_renew_ends_before_its_lease_does(cut: Callable[[Line], None]) -> None:
    async def main() -> None:
        memory = Memory()
        one, line = await lead(memory)
        async with running(elector(Line(memory), "two").acquire()) as standby, running(one.hold()) as holding:
            await asyncio.sleep(9)  # renewed at 4 and 8
            cut(line)
            with pytest.raises(LostError, match="not renewed for 10 s"):
                await holding
            assert now() == pytest.approx(8 + leader.TERM_SECONDS)
            assert not one.holds()
            requests = len(line.requests)
            await one.release()
            assert len(line.requests) == requests, "what may be another's is not given back"
            await standby
        # Renewals whose answers were lost count for the standby, and not for the leader.
        taken = max(when for when, holder in memory.writes if holder == "one") + leader.LEASE_SECONDS
        assert now() == pytest.approx(taken)
        assert now() >= 8 + leader.LEASE_SECONDS

    run(main())


@pytest.mark.parametrize("cut", FAULTS.values(), ids=FAULTS.keys())
def test_a_short_fault_loses_nothing(cut: Callable[[Line], None]) -> None:
    async def main() -> None:
        memory = Memory()
        one, line = await lead(memory)
        async with running(one.hold()) as holding:
            await asyncio.sleep(3)
            cut(line)
            await asyncio.sleep(5.5)  # one renewal fails, or hangs until its time-out
            line.fault, line.hangs, line.answers = (lambda _: None), False, True
            await asyncio.sleep(60)
            assert not holding.done()
            assert one.holds()
        assert memory.spec["leaseTransitions"] == 0

    run(main())


def test_a_term_counts_from_before_the_renewal_was_sent() -> None:
    async def main() -> None:
        memory = Memory()
        one, line = await lead(memory)

        async def slow(verb: str) -> None:
            await asyncio.sleep(3)

        line._pass = slow  # type: ignore[method-assign]
        async with running(one.hold()):
            await asyncio.sleep(7.5)  # sent at 4, answered at 7
            assert memory.writes[-1] == (7, "one")
            line.fault = lambda _: ConnectionResetError()
            line._pass = Line._pass.__get__(line)  # type: ignore[method-assign]
            await asyncio.sleep(14 - now() - 0.01)
            assert one.holds()
            await asyncio.sleep(0.02)
            assert not one.holds()

    run(main())


def test_a_leader_that_slept_holds_nothing_when_it_wakes() -> None:
    """A paused process: its clock has gone on, and none of its timers have rung."""

    async def main() -> None:
        memory, jump = Memory(), 0.0
        line = Line(memory)
        one = Elector(line, SYSTEM, "one", lambda: now() + jump)
        await one.acquire()
        async with running(one.hold()) as holding:
            await asyncio.sleep(6)
            jump = 12.0
            assert not one.holds()
            with pytest.raises(LostError, match="not renewed"):
                await holding
        assert line.requests == ["get", "post", "put"], "what may be another's is not renewed"

    run(main())


def test_a_fault_that_nobody_foresaw_ends_holding() -> None:
    async def main() -> None:
        one, line = await lead(Memory())
        line.fault = lambda _: KeyError("unforeseen")
        with pytest.raises(KeyError):
            await one.hold()

    run(main())


@pytest.mark.parametrize("cut", list(FAULTS.values())[:4], ids=list(FAULTS)[:4])
def test_a_standby_outlasts_faults_and_is_not_ready_meanwhile(cut: Callable[[Line], None]) -> None:
    async def main() -> None:
        memory = Memory()
        one, _ = await lead(memory)
        line = Line(memory)
        cut(line)
        two = elector(line, "two")
        async with running(one.hold()) as holding, running(two.acquire()) as standby:
            await asyncio.sleep(30)
            assert not two.following
            assert len(line.requests) <= 31, "no faster than once a second"
            line.fault, line.hangs = (lambda _: None), False
            await asyncio.sleep(5)
            assert two.following
            holding.cancel()
            await one.release()
            await standby

    run(main())


def test_a_standby_that_is_cut_off_is_not_ready() -> None:
    async def main() -> None:
        memory = Memory()
        one, _ = await lead(memory)
        line = Line(memory)
        two = elector(line, "two")
        async with running(one.hold()), running(two.acquire()):
            await asyncio.sleep(2)
            assert two.following
            line.hangs = True
            memory.watchers.clear()
            await asyncio.sleep(leader.LEASE_SECONDS + leader.REQUEST_SECONDS)
            assert not two.following

    run(main())


def test_a_standby_with_a_dead_watch_takes_nothing_from_a_leader_that_renews() -> None:
    async def main() -> None:
        memory = Memory()
        one, _ = await lead(memory)
        line = Line(memory)
        two = elector(line, "two")
        async with running(one.hold()) as holding, running(two.acquire()) as standby:
            await asyncio.sleep(1)
            memory.watchers.clear()  # what is told, nobody hears
            await asyncio.sleep(14.5)
            assert line.requests == ["get", "watch", "put"], "its version is old: the put was refused"
            await asyncio.sleep(60)
            assert not standby.done()
            assert not holding.done()
        assert {holder for _, holder in memory.writes} == {"one"}

    run(main())


def test_a_watch_that_ends_is_begun_again_with_a_look() -> None:
    async def main() -> None:
        memory = Memory()
        one, _ = await lead(memory)
        line = Line(memory)
        real = line.watch

        async def short(ref: Ref, namespace: str, version: str) -> AsyncGenerator[Manifest | None, None]:
            async for lease in real(ref, namespace, version):
                yield lease
                return

        line.watch = short  # type: ignore[method-assign]
        async with running(one.hold()), running(elector(line, "two").acquire()) as standby:
            await asyncio.sleep(40)
            assert not standby.done()
        assert line.requests[:4] == ["get", "watch", "get", "watch"]
        assert len(line.requests) <= 22

    run(main())


def test_a_claim_whose_answer_was_lost_is_ours() -> None:
    async def main() -> None:
        memory = Memory()
        line = Line(memory)
        line.fault = lambda verb: setattr(line, "answers", verb != "post")
        one = elector(line, "one")
        await one.acquire()
        assert line.requests == ["get", "post", "get", "put"]
        assert now() < leader.LEASE_SECONDS
        assert memory.spec["leaseTransitions"] == 0

    run(main())


def test_a_claim_that_was_cut_off_by_the_end_is_given_back() -> None:
    async def main() -> None:
        memory = Memory()
        line = Line(memory)
        line.answers = False
        line.fault = lambda verb: setattr(line, "answers", verb != "post")
        one = elector(line, "one")
        async with running(one.acquire()):
            await asyncio.sleep(1)
        assert memory.spec["holderIdentity"] == "one"
        await one.release()
        assert memory.spec["holderIdentity"] == ""

    run(main())


def test_a_renewal_that_was_cut_off_by_the_end_is_given_back() -> None:
    async def main() -> None:
        memory = Memory()
        one, line = await lead(memory)
        async with running(one.hold()):
            line.answers = False
            await asyncio.sleep(leader.RENEW_SECONDS + 1)
        line.answers = True
        await one.release()
        assert memory.spec["holderIdentity"] == ""

    run(main())


def test_a_standby_that_ends_gives_nothing_back() -> None:
    async def main() -> None:
        memory = Memory()
        await lead(memory)
        line = Line(memory)
        two = elector(line, "two")
        async with running(two.acquire()):
            await asyncio.sleep(1)
        await two.release()
        assert line.requests == ["get", "watch"]
        assert memory.spec["holderIdentity"] == "one"

    run(main())


def test_giving_back_does_not_hang() -> None:
    async def main() -> None:
        one, line = await lead(Memory())
        line.hangs = True
        await one.release()
        assert now() <= leader.REQUEST_SECONDS
        assert not one.holds()

    run(main())
