"""Argo CD by our Lua, Flux by kstatus, and the status itself say the same of every state of both kinds."""

import json
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.chart import argo, states
from tests.harness.binaries import find_binary
from vllm_operator.api.kinds import CLASSES
from vllm_operator.api.reasons import Reason

RECORDED = Path(__file__).parents[1] / "data" / "verdicts"
SCRIPT = argo.HEALTH / "vllm-operator.dev" / "_" / "health.lua"
Object = dict[str, Any]
DELETED = {"deletionTimestamp": "2026-01-02T05:00:00Z"}


def recorded() -> dict[str, Object]:
    """What a real API server held; tests/cluster/test_verdicts.py records it."""
    files = sorted(RECORDED.glob("*.json"))
    return {f"recorded, {file.stem}": json.loads(file.read_text()) for file in files}


def edited(obj: Object) -> Object:
    """The same after an edit that the operator has not looked at yet."""
    other = deepcopy(obj)
    other["metadata"]["generation"] += 1
    return other


def deleted(obj: Object) -> Object:
    other = deepcopy(obj)
    other["metadata"] |= DELETED
    return other


def unwritten(kind: str) -> Object:
    """An object that the operator has not seen yet, as the CRD defaults its status."""
    return states.placed(kind, {"observedGeneration": -1})


MADE = states.objects()
LIVE = MADE | recorded()
ALL = (
    LIVE
    | {f"{name}, then edited": edited(obj) for name, obj in LIVE.items()}
    | {f"{name}, then deleted": deleted(obj) for name, obj in LIVE.items()}
)


def judge(objects: list[Object]) -> list[str]:
    """The verdicts of the real kstatus library."""
    given = "".join(map(json.dumps, objects))
    done = subprocess.run(
        [find_binary("kstatus")], input=given, capture_output=True, text=True, timeout=60, check=True
    )
    return [json.loads(line)["status"] for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def kstatus() -> dict[str, str]:
    return dict(zip(ALL, judge(list(ALL.values())), strict=True))


def conditions(obj: Object) -> dict[str, Object]:
    return {each["type"]: each for each in obj["status"].get("conditions", ())}


def expected(obj: Object) -> tuple[str, str]:
    """What kstatus and Argo CD are to say of a status, by its own words."""
    said = conditions(obj)
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating", "Progressing"
    if obj["status"]["observedGeneration"] != obj["metadata"]["generation"]:
        return "InProgress", "Progressing"
    if said.get("Stalled", {}).get("status") == "True":
        assert said["Ready"]["status"] == "False"
        return "Failed", "Degraded"
    if said["Ready"]["status"] == "True":
        wanted_so = said["Ready"]["reason"] in ("Suspended", "Paused")
        return "Current", "Suspended" if wanted_so else "Healthy"
    return "InProgress", "Progressing"


@pytest.mark.parametrize("name", ALL)
def test_the_verdicts_agree(name: str, kstatus: dict[str, str]) -> None:
    obj = ALL[name]
    health = argo.health(obj)
    assert health is not None
    assert (kstatus[name], health.status) == expected(obj)


@pytest.mark.parametrize("name", MADE)
def test_argo_shows_reason_and_message_of_ready(name: str) -> None:
    ready = conditions(MADE[name])["Ready"]
    health = argo.check(MADE[name])
    assert health is not None
    assert health.message == f"{ready['reason']}: {ready['message']}"


def test_every_reason_occurs() -> None:
    told = {each["reason"] for obj in MADE.values() for each in conditions(obj).values()}
    assert told == {reason.value for reason in Reason}


@pytest.mark.parametrize(
    ("kind", "every"),
    [
        ("VLLMServer", {"Healthy", "Suspended", "Degraded", "Progressing"}),
        ("FP8Quantization", {"Healthy", "Degraded", "Progressing"}),
    ],
)
def test_every_verdict_occurs_also_among_the_recorded(kind: str, every: set[str]) -> None:
    for objects in (MADE, recorded()):
        found = [argo.health(obj) for obj in objects.values() if obj["kind"] == kind]
        assert {each.status for each in found if each} == every


@pytest.mark.parametrize("kind", CLASSES)
def test_what_nobody_has_looked_at_is_not_ready(kind: str) -> None:
    """With a status that holds only what the CRD defaults, with an empty one, and with none at all."""
    new = unwritten(kind)
    without = {key: value for key, value in new.items() if key != "status"}
    assert judge([new]) == ["InProgress"]
    for obj in (new, new | {"status": {}}, without, new | {"status": {"observedGeneration": 1}}):
        health = argo.check(obj)
        assert health is not None
        assert (health.status, bool(health.message)) == ("Progressing", True)
    # Why the CRDs have that default.
    assert judge([without]) == ["Current"]


@pytest.mark.parametrize("kind", CLASSES)
def test_a_condition_that_is_not_true_is_none(kind: str) -> None:
    """A later version of ours may write statuses so."""
    ready = {"type": "Ready", "status": "True", "reason": "Serving", "message": "m", "observedGeneration": 1}
    obj = unwritten(kind) | {"status": {"observedGeneration": 1, "conditions": [ready]}}
    false = [ready | {"type": other, "status": "False"} for other in ("Stalled", "Reconciling")]
    obj["status"]["conditions"] = [*false, ready]
    assert judge([obj]) == ["Current"]
    assert argo.check(obj) == argo.Health("Healthy", "Serving: m")
    obj["status"]["conditions"] = [ready | {"status": "Unknown"}]
    assert judge([obj]) == ["InProgress"]
    assert argo.check(obj) == argo.Health("Progressing", "Serving: m")


def test_the_config_map_holds_the_file_for_every_kind() -> None:
    made = argo.config_map()
    assert (made["kind"], made["metadata"]) == ("ConfigMap", {"name": "argocd-cm", "namespace": "argocd"})
    keys = {argo.KEY.format(group="vllm-operator.dev", kind=kind) for kind in CLASSES}
    assert made["data"] == dict.fromkeys(keys, SCRIPT.read_text())


def test_the_lua_runs_as_in_argo_without_libraries() -> None:
    """The stage itself is as strict: what a check may not use is not there."""
    for name in ("string", "math", "io", "debug", "python"):
        assert argo.run(f'return {{status = "Healthy", message = type({name})}}', {}).message == "nil"
    with pytest.raises(Exception, match="attempt to index"):
        argo.run('return {status = ("a"):upper()}', {})
