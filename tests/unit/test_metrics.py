"""What the operator counts of itself, as Prometheus reads it."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit import things
from tests.unit.quantized import (
    EXISTING,
    NOW,
    aim,
    calibration_job,
    ended,
    measured,
    observed,
    recorded,
    report,
)
from tests.unit.situations import SITUATIONS
from tests.unit.things import DEFAULT, SMALL, server, target
from vllm_operator import __version__
from vllm_operator.api.kinds import CLASSES
from vllm_operator.api.reasons import Reason
from vllm_operator.api.status import FP8QuantizationStatus, VLLMServerStatus
from vllm_operator.controller.metrics import CONDITIONS, RESULTS, Metrics
from vllm_operator.controller.store import Key, Store
from vllm_operator.controller.workqueue import Priority, WorkQueue
from vllm_operator.desired import calibration, names
from vllm_operator.desired.server import desired
from vllm_operator.status import quantization as quantization_status
from vllm_operator.status import server as server_status

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| (.*?) \| (.+) \|$", re.M)
"""Name, type, labels and meaning."""
SINCE = "vllm_operator_conditions_oldest_transition_timestamp_seconds"


class World:
    """Metrics of a queue and a store."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.queue = WorkQueue[Key]()
        self.store = Store()
        self.leads = False
        self.metrics.look_at(self.queue, self.store, lambda: self.leads)
        self.versions = 0

    def values(self, name: str) -> dict[tuple[str, ...], float]:
        """The values of all series of a name, by their labels in the order of the alphabet."""
        return {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(self.metrics.page().decode())
            for sample in family.samples
            if sample.name == name
        }

    def see(self, name: str, *conditions: tuple[str, str, str, str], kind: str = "VLLMServer") -> None:
        """A resource with a status: of each condition type, status, reason and time."""
        self.versions += 1
        metadata = {"name": name, "namespace": "ns", "uid": name, "resourceVersion": str(self.versions)}
        keys = ("type", "status", "reason", "lastTransitionTime")
        said = [dict(zip(keys, each, strict=True)) for each in conditions]
        self.store.see(kind, {"metadata": metadata, "spec": SMALL, "status": {"conditions": said}})


@pytest.fixture
def world() -> World:
    return World()


def test_reconciles_begin_at_zero_and_are_counted_by_kind_and_result(world: World) -> None:
    counted = world.values("vllm_operator_reconciles_total")
    assert counted == {(kind, result): 0 for kind in CLASSES for result in RESULTS}
    world.metrics.reconciled("VLLMServer", "error", 0.2)
    world.metrics.reconciled("VLLMServer", "done", 0.004)
    counted = world.values("vllm_operator_reconciles_total")
    assert {labels: value for labels, value in counted.items() if value} == {
        ("VLLMServer", "error"): 1,
        ("VLLMServer", "done"): 1,
    }
    assert world.values("vllm_operator_reconcile_duration_seconds_sum")["VLLMServer",] == pytest.approx(0.204)
    buckets = world.values("vllm_operator_reconcile_duration_seconds_bucket")
    assert [buckets["VLLMServer", le] for le in ("0.005", "0.1", "0.25", "+Inf")] == [1, 1, 2, 2]


def test_requests_are_counted_by_verb_and_code(world: World) -> None:
    for verb, code in (("APPLY", "200"), ("APPLY", "200"), ("GET", "404"), ("GET", "error")):
        world.metrics.requested(verb, code)
    assert world.values("vllm_operator_api_requests_total") == {
        ("200", "APPLY"): 2,
        ("404", "GET"): 1,
        ("error", "GET"): 1,
    }


async def test_the_queue_is_looked_at_when_it_is_asked_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(100, 1000, 100))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    for name in ("a", "b", "c"):  # at 100, 200, 300
        world.queue.add(Key("VLLMServer", "ns", name), Priority.USER)
    await world.queue.get()  # at 400: `a` has a worker
    page = world.metrics.page().decode()
    monkeypatch.undo()
    assert "\nvllm_operator_queue_depth 2.0\n" in page
    # One reading of the clock for each, in this order.
    assert "\nvllm_operator_queue_oldest_seconds 300.0\n" in page
    assert "\nvllm_operator_queue_active_oldest_seconds 200.0\n" in page


def test_the_leader_and_the_version_show(world: World) -> None:
    assert world.values("vllm_operator_leader") == {(): 0}
    world.leads = True
    assert world.values("vllm_operator_leader") == {(): 1}
    assert world.values("vllm_operator_build_info") == {(__version__,): 1}
    assert world.values("process_resident_memory_bytes")[()] > 1e6


def test_resources_are_counted_by_what_their_conditions_say(world: World) -> None:
    assert world.values("vllm_operator_resources") == {(kind,): 0 for kind in CLASSES}
    ready = ("Ready", "True", "Serving", "2026-01-02T03:04:05Z")
    world.see("a", ready, ("Available", "True", "Serving", "2026-01-02T03:04:05Z"))
    world.see("b", ("Ready", "True", "Serving", "2026-01-02T03:00:00Z"))
    world.see("c", ("Ready", "False", "OutOfMemory", "2026-01-02T03:00:00Z"))
    world.see("d")
    world.see("q", ("Ready", "False", "Calibrating", "2026-01-02T03:00:01Z"), kind="FP8Quantization")
    assert world.values("vllm_operator_resources") == {("VLLMServer",): 4, ("FP8Quantization",): 1}
    # By condition, kind, reason and status.
    assert world.values("vllm_operator_conditions") == {
        ("Ready", "VLLMServer", "Serving", "True"): 2,
        ("Available", "VLLMServer", "Serving", "True"): 1,
        ("Ready", "VLLMServer", "OutOfMemory", "False"): 1,
        ("Ready", "FP8Quantization", "Calibrating", "False"): 1,
    }
    since = world.values(SINCE)
    assert since["Ready", "VLLMServer", "Serving", "True"] == 1767322800
    assert since["Available", "VLLMServer", "Serving", "True"] == 1767322800 + 245


def test_what_is_gone_is_not_counted(world: World) -> None:
    world.see("a", ("Ready", "True", "Serving", "2026-01-02T03:04:05Z"))
    metadata = {"name": "a", "namespace": "ns", "uid": "a", "resourceVersion": "9"}
    world.store.gone("VLLMServer", {"metadata": metadata})
    assert world.values("vllm_operator_resources")["VLLMServer",] == 0
    assert world.values("vllm_operator_conditions") == {}


def test_no_label_names_an_object_and_what_others_write_makes_no_series(world: World) -> None:
    """A status is open to whoever may write it."""
    for index in range(2000):
        time = f"2026-01-02T03:04:{index % 60:02d}Z" if index % 2 else "yesterday"
        world.see(f"s{index}", ("Ready", "False", f"Reason{index}", time), (f"T{index}", "True", "x", time))
    assert world.values("vllm_operator_conditions") == {
        ("Ready", "VLLMServer", "Other", "False"): 2000,
        ("Other", "VLLMServer", "Other", "True"): 2000,
    }
    text = world.metrics.page().decode()
    assert len(text) < 30_000
    assert "s1999" not in text


@pytest.mark.parametrize("time", ["yesterday", ""])
def test_a_time_that_cannot_be_read_makes_no_page_fail(world: World, time: str) -> None:
    world.see("a", ("Ready", "True", "Serving", time))
    assert world.values("vllm_operator_conditions") == {("Ready", "VLLMServer", "Serving", "True"): 1}
    assert world.values(SINCE) == {}


def statuses() -> Iterator[VLLMServerStatus | FP8QuantizationStatus]:
    for situation in SITUATIONS.values():
        yield server_status.judge(situation.seen, target(), previous={}, now=NOW)
    asked = server({"device": "gaudi", "prefetch": True, "fp8": {"quantizationRef": {"name": "q"}}})
    seen = things.observed(asked, quantization=things.quantization(result=None))
    yield server_status.judge(seen, desired(seen, DEFAULT).target, previous={}, now=NOW)
    for found in (observed(), measured()):
        yield quantization_status.judge(found, aim(found), previous={}, now=NOW)


def test_the_conditions_of_every_status_are_known_by_name() -> None:
    told = {condition.type for status in statuses() for condition in status.conditions or ()}
    known = {"Ready", "Reconciling", "Stalled", "Available", "ModelCached", "Quantized"}
    assert known | {"Calibrated", "ArtifactsVerified"} <= told <= CONDITIONS


def test_a_calibration_is_counted_by_its_duration(world: World) -> None:
    found = measured()
    result = calibration.new_result(found, aim(found))
    assert result is not None
    world.metrics.calibrated(result)
    assert world.values("vllm_operator_calibration_duration_seconds_count") == {(): 1}
    buckets = world.values("vllm_operator_calibration_duration_seconds_bucket")
    assert buckets["+Inf",] == 1


def test_a_result_is_new_until_it_is_recorded() -> None:
    """So a new start of the operator, which sees the Job and its report again, counts none twice."""
    found = measured()
    assert calibration.new_result(found, aim(found)) is not None
    record = recorded(found, revision=2)
    kept = replace(found, children={**found.children, ("ControllerRevision", record.name): record})
    assert aim(kept).result is not None
    assert calibration.new_result(kept, aim(kept)) is None
    running = observed()
    assert calibration.new_result(running, aim(running)) is None


def test_files_that_were_made_by_hand_are_no_calibration() -> None:
    fingerprint = aim(observed(EXISTING)).fingerprint or ""
    of = calibration_job(fingerprint)
    at = {"output": "/data/inc/model", "quantConfig": "/data/inc/model/q.json"}
    done = ended(of, report(fingerprint, **at), component=names.CALIBRATION)
    found = observed(EXISTING, of, pods=(done,))
    assert aim(found).result is not None
    assert calibration.new_result(found, aim(found)) is None


def test_the_page_and_the_registry_agree(world: World) -> None:
    """Each metric is told with its type and its labels, and no other."""
    world.metrics.requested("GET", "200")
    world.see("a", ("Ready", "False", Reason.OUT_OF_MEMORY, "2026-01-02T03:04:05Z"))
    known: dict[str, tuple[str, set[str]]] = {}
    for family in world.metrics.registry.collect():
        name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        known[name] = ("gauge" if family.type == "info" else family.type, labels)
    told = {
        name: (kind, set(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels, _ in ROW.findall(PAGE.read_text())
    }
    assert told == known
