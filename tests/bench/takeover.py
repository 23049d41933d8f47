"""`python -m tests.bench.takeover`: two operators at rest, and how soon one takes over from the other."""

import argparse
import signal
import sys
import time
from collections import Counter
from contextlib import ExitStack
from datetime import datetime
from statistics import median

import httpx

from tests.bench.counts import label
from tests.bench.machine import cpu_seconds, wait_quiet
from tests.bench.result import Result
from tests.harness.audit import Audit, Request
from tests.harness.controlplane import ControlPlane
from tests.harness.crds import apply_crds
from tests.harness.operator import OperatorProcess

NAMESPACE = "bench"
REST_SECONDS = 60.0
BUDGET_SECONDS = 1.0
"""From SIGTERM to the standby's holding the Lease."""


class Arena:
    """A control plane and two operators; a context manager."""

    def __init__(self) -> None:
        """Plan it."""
        self.plane = ControlPlane()
        self._opened = ExitStack()

    def __enter__(self) -> "Arena":
        """Start everything."""
        try:
            self._opened.enter_context(self.plane)
            apply_crds(self.plane.api)
            metadata = {"name": NAMESPACE}
            self.plane.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
            self.audit = Audit(self.plane.audit_log, self.plane.api)
            self._opened.callback(self.audit.close)
            self.leader = self._opened.enter_context(OperatorProcess(self.plane, [NAMESPACE]))
            self.standby = self._opened.enter_context(OperatorProcess(self.plane, [NAMESPACE]))
        except BaseException:
            self._opened.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything."""
        self._opened.close()

    def change(self, number: signal.Signals) -> tuple[float, list[Request]]:
        """End the leader by a signal and start it again as the standby; tell when, and what was asked."""
        mark, begin = self.audit.mark(), time.time()
        self.leader.signal(number)
        self.plane.api.wait_for(lambda: _leads(self.standby), 60, "the standby leads")
        self.leader.stop()
        requests = self.audit.requests(since=mark)
        self.leader.start()
        self.leader, self.standby = self.standby, self.leader
        return begin, requests


def main() -> int:
    """Run it; the exit code is 1 when a budget does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.takeover", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often the leader is ended by SIGTERM")
    rounds = parser.parse_args().rounds
    result = Result()
    with Arena() as arena:
        _rest(arena, result)
        _handed_over(arena, result, rounds)
        _killed(arena, result)
    for violation in result.violations:
        print(f"BROKEN: {violation}")
    return 1 if result.violations else 0


def _rest(arena: Arena, result: Result) -> None:
    operators = {"leader": arena.leader, "standby": arena.standby}
    for operator in operators.values():
        wait_quiet(operator.pid)
    mark = arena.audit.mark()
    before = {role: cpu_seconds(operator.pid) for role, operator in operators.items()}
    time.sleep(REST_SECONDS)
    for role, operator in operators.items():
        used = cpu_seconds(operator.pid) - before[role]
        asked = Counter(label(each) for each in arena.audit.requests(operator.user, since=mark))
        figures = {
            f"requests in {REST_SECONDS:.0f} s": dict(asked),
            "CPU, % of one": used / REST_SECONDS * 100,
        }
        result.add(f"Rest, {role}", figures)
        if role == "standby" and asked:
            result.demand([f"a standby asks: {kind}" for kind in asked])


def _handed_over(arena: Arena, result: Result, rounds: int) -> None:
    seconds, released = [], []
    for _ in range(rounds):
        old, new = arena.leader.user, arena.standby.user
        begin, requests = arena.change(signal.SIGTERM)
        taken = _lease_times(requests, new)[0]
        seconds.append(taken - begin)
        released.append(taken - _lease_times(requests, old)[-1])
    result.add(
        f"SIGTERM, {rounds} times",
        {
            "s from the signal to the Lease's being taken, median": median(seconds),
            "s from the signal to the Lease's being taken, longest": max(seconds),
            "s from its being given back to its being taken, longest": max(released),
        },
    )
    result.demand([f"{each:.2f} s after SIGTERM" for each in seconds if each > BUDGET_SECONDS])


def _killed(arena: Arena, result: Result) -> None:
    new = arena.standby.user
    begin, requests = arena.change(signal.SIGKILL)
    result.add(
        "SIGKILL", {"s from the signal to the Lease's being taken": _lease_times(requests, new)[0] - begin}
    )


def _lease_times(requests: list[Request], user: str) -> list[float]:
    return [
        datetime.fromisoformat(each.time).timestamp()
        for each in requests
        if each.user == user and (each.verb, each.resource, each.code) == ("update", "leases", 200)
    ]


def _leads(operator: OperatorProcess) -> bool:
    url = f"http://127.0.0.1:{operator.health_port}/metrics"
    return "\nvllm_operator_leader 1.0\n" in httpx.get(url, timeout=10.0, trust_env=False).text


if __name__ == "__main__":
    sys.exit(main())
