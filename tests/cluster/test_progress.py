"""How far a start has come, read from the last lines of logs that kwok serves as a kubelet does."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from itertools import chain, pairwise, repeat
from typing import Any

import pytest

from tests.cluster import prefetching, support
from tests.cluster.kubectl import kubectl
from tests.harness.api import Api, Object, condition
from tests.harness.audit import Audit, Request
from tests.harness.controlplane import ControlPlane
from tests.harness.fixtures import ForeignCluster
from tests.harness.operator import Cluster, OperatorProcess

LOOK_SECONDS = 20
Write = Callable[..., None]

BAR = "Prompt warmup processing: :  10%|#         | {done}/36 [00:10<01:50, 3.1s/item, {done}/36]"
FORMATS = {
    "plugin": ("[Warmup][Prompt][{done}/36] batch_size:1 query_len:128 num_blocks:0 free_mem:79.16 GiB", 36),
    "fork": (
        "INFO 09-05 12:17:56 habana_model_runner.py:940] [Warmup][Decode][{done}/1024] batch_size:2",
        1024,
    ),
    "bar": (BAR.format(done=1) + "\r" + BAR, 36),
}


@pytest.fixture
def write_log(cluster: ControlPlane | ForeignCluster) -> Iterator[Write]:
    """Write the logs of containers (see `ControlPlane.write_log`); they are gone after the test."""
    if not isinstance(cluster, ControlPlane):
        pytest.fail("this test writes the logs of played containers: it cannot run with --kubeconfig")
    yield cluster.write_log
    for container in ("vllm", "prefetch"):
        cluster.write_log(container)


def warming(namespace: str, **spec: Any) -> Object:
    return support.server(namespace, life="never-ready", device="gaudi", **spec)


def status_writes(audit: Audit, operator: OperatorProcess, namespace: str, since: int) -> list[Request]:
    written = audit.writes(operator.user, namespace, since=since)
    return [each for each in written if (each.resource, each.subresource) == ("vllmservers", "status")]


def test_a_warm_up_is_followed_in_every_format(
    *, cluster: Cluster, api: Api, namespace: str, operator: OperatorProcess, audit: Audit, write_log: Write
) -> None:
    support.put(api, warming(namespace))
    support.wait_reconciling(api, namespace, "chat", "WarmingUp")
    mark = audit.mark()
    for line, total in FORMATS.values():
        grow = _growing(write_log, line, total)
        told = partial(_told, api, namespace, line, total, grow)
        found = api.wait_for(told, timeout=support.READY_SECONDS, message=line)
        message = condition(support.child(api, namespace, "VLLMServer", "chat"), "Ready")["message"]
        assert f"{found['phase']}: {found['done']:,} of {total:,}." in message
    columns = kubectl(cluster, namespace, "get", "vllm", "-o", "wide").splitlines()
    assert columns[0].split()[-3:] == ["WARM-UP", "DONE", "OF"]
    assert columns[1].split()[-3:] == [found["phase"], str(found["done"]), str(total)]
    # A write only tells of progress every 20 seconds, however fast the log grows.
    times = [datetime.fromisoformat(each.time) for each in status_writes(audit, operator, namespace, mark)]
    assert len(times) >= len(FORMATS)
    gaps = [(after - before).total_seconds() for before, after in pairwise(times)]
    assert min(gaps) > LOOK_SECONDS - 1, gaps
    reads = [each for each in audit.requests(operator.user, namespace) if each.subresource == "log"]
    assert len(reads) <= len(times) + 1
    assert {each.code for each in reads} == {200}


def _growing(write_log: Write, line: str, total: int) -> Callable[[], None]:
    """Return what lets the log go on by one step, up to the last."""
    steps = chain(range(1, total), repeat(total))
    return lambda: write_log("vllm", "INFO: before", line.format(done=next(steps)), "INFO: after it")


def _told(api: Api, namespace: str, line: str, total: int, grow: Callable[[], None]) -> Object | None:
    grow()
    status = support.child(api, namespace, "VLLMServer", "chat")["status"]
    found: Object = status.get("warmup") or {}
    return found if found.get("total") == total and _is_of(line, found["phase"]) else None


def _is_of(line: str, phase: str) -> bool:
    return f"[{phase}]" in line or f"{phase} warmup" in line


def test_a_restart_forgets_no_progress(
    api: Api, namespace: str, operator: OperatorProcess, audit: Audit, write_log: Write
) -> None:
    write_log("vllm", "[Warmup][Prompt][7/36] batch_size:1")
    support.put(api, warming(namespace))
    far = {"phase": "Prompt", "done": 7, "total": 36}
    api.wait_object(
        *("VLLMServer", namespace, "chat"), lambda obj: obj["status"].get("warmup") == far, timeout=60
    )
    mark = audit.mark()
    operator.restart()
    support.wait_reconciles(api, operator, 1)
    time.sleep(2)
    assert support.shown(audit.writes(operator.user, namespace, since=mark)) == []


def test_a_prefetch_tells_its_step_and_bytes(
    api: Api, namespace: str, operator: OperatorProcess, write_log: Write
) -> None:
    write_log("prefetch", "prefetch: resolve", "note: hello", "prefetch: download 70000000000/140000000000")
    support.put(api, prefetching.held(namespace))
    words = "Step download: 70,000,000,000 of 140,000,000,000 bytes."
    support.wait_reconciling(api, namespace, "chat", "Prefetching", words=words)
    prefetching.end(api, namespace, prefetching.job(api, namespace))
    ready = support.wait_serving(api, namespace)
    assert "warmup" not in ready["status"]


@pytest.mark.parametrize("read", ["false", "true"])
def test_without_the_right_to_read_logs_nothing_breaks(
    *, cluster: Cluster, api: Api, namespace: str, audit: Audit, write_log: Write, read: str
) -> None:
    write_log("vllm", "[Warmup][Prompt][7/36] batch_size:1")
    settings = {"VLLM_OPERATOR_READ_LOGS": read}
    with OperatorProcess(cluster, [namespace], settings, without=["pods/log"]) as operator:
        support.put(api, warming(namespace))
        support.wait_reconciling(api, namespace, "chat", "WarmingUp")
        time.sleep(LOOK_SECONDS + 5)
        asked = [each for each in audit.requests(operator.user) if each.subresource == "log"]
        assert [each.code for each in asked] == ([403] if read == "true" else [])
        support.put(api, support.server(namespace, device="gaudi"))
        assert "warmup" not in support.wait_serving(api, namespace)["status"]
        assert len(support.refused(audit, operator)) == len(asked)


def test_when_half_of_the_time_has_passed_the_message_says_what_to_lower(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    args = {"maxNumSeqs": 128}
    support.put(api, warming(namespace, warmup={"timeoutSeconds": 60}, engineArgs=args))
    first = support.wait_reconciling(api, namespace, "chat", "WarmingUp")
    assert "Half of that time" not in first
    words = (
        "Half of that time has passed: lower spec.engineArgs.maxModelLen (unset: as much as the model "
        "allows) and spec.engineArgs.maxNumSeqs (128)"
    )
    support.wait_reconciling(api, namespace, "chat", "WarmingUp", words=words)
