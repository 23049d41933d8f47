"""Two operators and one Lease: who writes, and until when."""

import contextlib
import itertools
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

import httpx
import pytest

from tests.cluster import support
from tests.harness.api import Api
from tests.harness.audit import Audit, Request
from tests.harness.operator import Cluster, OperatorProcess
from tests.harness.wire import Wire

LEASE = timedelta(seconds=15)
CHILDREN = ("ServiceAccount", "PersistentVolumeClaim", "ControllerRevision", "Service", "Deployment")
SERVERS = [f"s{index:02d}" for index in range(20)]
TAKEN_SECONDS = 60.0


def answer(operator: OperatorProcess, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{operator.health_port}/{path}", timeout=10.0, trust_env=False)


def leads(operator: OperatorProcess) -> bool:
    return "\nvllm_operator_leader 1.0\n" in answer(operator, "metrics").text


def when(request: Request) -> datetime:
    return datetime.fromisoformat(request.time)


def storm(api: Api, namespace: str) -> None:
    """Create all servers at once; they have no pods, which this is not about."""
    for name in SERVERS:
        support.put(api, support.server(namespace, name, replicas=0))


def wait_made(api: Api, namespace: str, count: int) -> None:
    """Wait until so many servers have a Deployment: the storm is in its middle."""
    api.wait_for(lambda: len(api.list("Deployment", namespace)) >= count, message=f"{count} Deployments")


def wait_settled(api: Api, namespace: str) -> None:
    for name in SERVERS:
        support.wait_condition(api, namespace, name, "Suspended", "True")


def wait_leads(api: Api, operator: OperatorProcess) -> None:
    api.wait_for(lambda: leads(operator), TAKEN_SECONDS, f"the Lease is taken over\n{operator.tail()}")


def assert_made_once(api: Api, namespace: str, audit: Audit, *operators: OperatorProcess) -> None:
    """Every server has got its five children, and no child was created twice."""
    for kind in CHILDREN:
        found = api.list(kind, namespace, labels=support.SERVER_LABEL)
        assert len(found) == len(SERVERS), kind
    writes = [each for operator in operators for each in audit.writes(operator.user)]
    # A creation that was cut off may be in the log as failed, and have been done.
    made = Counter((each.resource, each.name) for each in writes if each.code == 201)
    made = Counter({key: count for key, count in made.items() if key[0] != "events"})
    assert made
    assert set(made.values()) == {1}


def taken(audit: Audit, operator: OperatorProcess) -> Request:
    """The write by which an operator took the Lease."""
    return next(each for each in audit.writes(operator.user, leases=True) if each.code in (200, 201))


def assert_fenced(audit: Audit, old: OperatorProcess, new: OperatorProcess) -> None:
    """The old leader wrote nothing after the end of its Lease; the new one did not take it before."""
    renewed = [each for each in audit.writes(old.user, leases=True) if each.resource == "leases"]
    end = max(when(each) for each in renewed if each.code in (200, 201)) + LEASE
    take = taken(audit, new)
    assert take.resource == "leases"
    # The last renewal was observed by the new one after the API server had received it.
    assert when(take) >= end
    written = audit.writes(old.user)
    assert written
    print(f"last renewal {end - LEASE}, last write {max(map(when, written))}, taken {when(take)}")
    assert support.shown(each for each in written if when(each) >= end) == []
    first = min(when(each) for each in audit.writes(new.user))
    assert support.shown(each for each in written if when(each) >= first) == []


@contextlib.contextmanager
def edits(api: Api, namespace: str) -> Iterator[None]:
    """Change one server after the other, ten a second: there is always something to write."""
    ended = threading.Event()

    def edit() -> None:
        for count, name in enumerate(itertools.cycle(SERVERS)):
            if ended.wait(0.1):
                return
            port = 9000 + count // len(SERVERS)
            api.patch("VLLMServer", namespace, name, {"spec": {"service": {"port": port}}})

    thread = threading.Thread(target=edit, name="edits")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.fixture
def wire(cluster: Cluster) -> Iterator[Wire]:
    with Wire(cluster.api.url) as made:
        yield made


@pytest.fixture
def pair(
    cluster: Cluster, namespace: str, api: Api, wire: Wire
) -> Iterator[tuple[OperatorProcess, OperatorProcess]]:
    """A leader, on a wire that can be cut, and a standby."""
    with OperatorProcess(cluster, [namespace], server=wire.url) as leader:
        assert leads(leader)
        with OperatorProcess(cluster, [namespace]) as standby:
            assert not leads(standby)
            yield leader, standby


Pair = tuple[OperatorProcess, OperatorProcess]


def test_a_standby_is_ready_and_does_nothing(api: Api, namespace: str, pair: Pair, audit: Audit) -> None:
    leader, standby = pair
    storm(api, namespace)
    wait_settled(api, namespace)
    assert_made_once(api, namespace, audit, leader)
    for path in ("healthz", "readyz"):
        assert answer(standby, path).status_code == httpx.codes.OK
    assert "\nvllm_operator_leader 0.0\n" in answer(standby, "metrics").text
    assert support.reconciles(standby) == 0
    assert standby.stop() == 0
    # A watch is in the log only once it has ended.
    asked = {(each.verb, each.resource, each.name, each.code) for each in audit.requests(standby.user)}
    lease = ("leases", support.MANAGER, 200)
    assert asked == {("get", *lease), ("watch", *lease), ("get", "", "", 200)}
    assert leads(leader)


def test_the_lease_says_who_holds_it(api: Api, namespace: str, pair: Pair) -> None:
    lease = support.child(api, namespace, "Lease", support.MANAGER)
    spec = lease["spec"]
    assert spec["holderIdentity"].startswith(f"{os.uname().nodename}_")
    assert spec["leaseDurationSeconds"] == LEASE.total_seconds()
    assert spec["leaseTransitions"] == 0
    assert abs(datetime.fromisoformat(spec["renewTime"]).timestamp() - datetime.now().timestamp()) < 30


def test_after_sigterm_the_standby_goes_on(api: Api, namespace: str, pair: Pair, audit: Audit) -> None:
    leader, standby = pair
    storm(api, namespace)
    wait_made(api, namespace, 3)
    assert leader.stop() == 0
    wait_leads(api, standby)
    wait_settled(api, namespace)
    assert_made_once(api, namespace, audit, leader, standby)
    # By when they were received: what was cut off is in the log after what was asked later.
    released = max(audit.writes(leader.user, leases=True), key=when)
    assert (released.resource, released.verb, released.code) == ("leases", "update", 200), leader.tail()
    assert when(taken(audit, standby)) >= when(released)
    assert when(taken(audit, standby)) < when(released) + LEASE, "it was not waited for"
    print(f"released {when(released)}, taken {(when(taken(audit, standby)) - when(released))} later")
    assert support.child(api, namespace, "Lease", support.MANAGER)["spec"]["leaseTransitions"] == 1
    # It counts as a standby again.
    leader.start()
    assert not leads(leader)
    assert leads(standby)


def test_after_a_kill_the_standby_goes_on(api: Api, namespace: str, pair: Pair, audit: Audit) -> None:
    leader, standby = pair
    storm(api, namespace)
    wait_made(api, namespace, 3)
    leader.kill()
    wait_leads(api, standby)
    wait_settled(api, namespace)
    assert_made_once(api, namespace, audit, leader, standby)
    assert_fenced(audit, leader, standby)


@pytest.mark.parametrize("requests", [True, False], ids=["both-ways", "answers-only"])
def test_a_leader_that_is_cut_off_ends_in_time(
    namespace: str, pair: Pair, audit: Audit, wire: Wire, api: Api, *, requests: bool
) -> None:
    leader, standby = pair
    storm(api, namespace)
    with edits(api, namespace):
        wait_made(api, namespace, 3)
        wire.cut(requests=requests)
        assert leader.wait_end() == 1, leader.tail()
        wire.mend()
        wait_leads(api, standby)
    wait_settled(api, namespace)
    assert_made_once(api, namespace, audit, leader, standby)
    assert_fenced(audit, leader, standby)


def test_a_leader_that_may_not_renew_ends_in_time(api: Api, namespace: str, pair: Pair, audit: Audit) -> None:
    """Only the Lease is out of its reach: everything that it would write would be taken."""
    leader, standby = pair
    storm(api, namespace)
    wait_made(api, namespace, 3)
    with edits(api, namespace):
        leader.take_lease_rights()
        assert leader.wait_end() == 1, leader.tail()
        wait_leads(api, standby)
    wait_settled(api, namespace)
    assert_made_once(api, namespace, audit, leader, standby)
    assert_fenced(audit, leader, standby)


def test_a_leader_that_was_paused_writes_nothing_when_it_wakes(
    api: Api, namespace: str, pair: Pair, audit: Audit
) -> None:
    leader, standby = pair
    storm(api, namespace)
    with edits(api, namespace):
        wait_made(api, namespace, 3)
        leader.signal(signal.SIGSTOP)
        wait_leads(api, standby)
        leader.signal(signal.SIGCONT)
        assert leader.wait_end() == 1, leader.tail()
    wait_settled(api, namespace)
    assert_made_once(api, namespace, audit, leader, standby)
    assert_fenced(audit, leader, standby)


def test_leases_of_other_namespaces_block_nobody(cluster: Cluster, api: Api, namespace: str) -> None:
    other = f"{namespace}-b"
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    try:
        with OperatorProcess(cluster, [namespace]) as one, OperatorProcess(cluster, [other]) as two:
            assert leads(one)
            assert leads(two)
    finally:
        api.delete("Namespace", None, other)


def test_one_lease_for_operators_in_different_namespaces(cluster: Cluster, api: Api, namespace: str) -> None:
    """An operator that looks from elsewhere stands by, when it is told where the Lease is."""
    settings = {"VLLM_OPERATOR_LEASE_NAMESPACE": namespace}
    with (
        OperatorProcess(cluster, [namespace]) as one,
        OperatorProcess(cluster, [namespace], settings, lease=namespace, system="default") as two,
    ):
        assert leads(one)
        assert not leads(two)
