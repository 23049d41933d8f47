"""What should be of a quantization: from report to report, and what is done with Jobs that are over."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit import quantized
from tests.unit.quantized import (
    COMMIT,
    EXISTING,
    NOW,
    STAGED,
    aim,
    calibration_job,
    ended,
    measured,
    measuring,
    observed,
    recorded,
    report,
    staging,
)
from tests.unit.things import DEFAULT, GAUDI_IMAGE, child, claim, job, kinds
from vllm_operator.api.owned import OWNED_VARIABLES
from vllm_operator.api.quantized import ObservedQuantization, QuantizationRecord, User
from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.controller import facts
from vllm_operator.desired import calibration, names, recipe
from vllm_operator.desired.defaults import Defaults, Image


def goes(found: ObservedQuantization, now: str = NOW) -> set[str]:
    """Names of the children that are deleted."""
    made = calibration.desired(found, DEFAULT)
    wanted = {(each["kind"], each["metadata"]["name"]) for each in made.manifests}
    return {each.name for each in calibration.superfluous(found, wanted, made.target, now)}


def test_model_and_dataset_come_first() -> None:
    made = calibration.desired(observed(), DEFAULT)
    assert made.target.job == made.manifests[-1]["metadata"]["name"]
    assert [each["kind"] for each in made.manifests] == [
        *("ServiceAccount", "ControllerRevision", "ConfigMap", "Job")
    ]
    container = kinds(made.manifests)["Job"]["spec"]["template"]["spec"]["containers"][0]
    assert container["name"] == names.PREFETCH
    assert "habana.ai/gaudi" not in str(container["resources"])


def test_what_is_staged_is_calibrated() -> None:
    target = aim(staging())
    assert target.staged == (COMMIT, "/data/hub", "/data/datasets/a.pkl", "a" * 64)
    assert target.job == f"llama-fp8q-{(target.fingerprint or '')[:8]}"
    assert target.result is None
    # And stays so without the Job that has told it.
    assert aim(observed(None, recorded(staging()))).fingerprint == target.fingerprint


@pytest.mark.parametrize(
    "said",
    [
        "done",
        STAGED | {"cache": "/etc"},
        STAGED | {"cache": "/data/../etc"},
        STAGED | {"commit": ""},
        STAGED | {"dataset": None},
        STAGED | {"dataset": {"path": "/etc/passwd", "sha256": "a", "bytes": 1}},
    ],
    ids=str,
)
def test_what_is_not_asked_for_is_not_staged(said: Any) -> None:
    assert aim(staging(said=said)).staged is None


def test_a_report_of_another_owner_or_job_is_none() -> None:
    fetch = job(aim(observed()).job or "", uid="uid-fetch")
    of_other = replace(fetch, owner="uid-of-an-earlier-one")
    assert aim(observed(None, of_other, pods=(ended(fetch, STAGED),))).staged is None
    anew = replace(fetch, uid="uid-anew")
    assert aim(observed(None, anew, pods=(ended(fetch, STAGED),))).staged is None
    assert aim(observed(None, fetch, pods=(ended(fetch, STAGED, code=1),))).staged is None


def test_a_result_is_kept_in_the_record() -> None:
    found = measured()
    result = aim(found).result
    assert result is not None
    assert (result.world_size, result.samples, result.completed_at) == (1, 512, NOW)
    kept = aim(observed(None, recorded(found, 2)))
    assert (kept.result, kept.job) == (result, None)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, {"worldSize": 2}),
        ({"tensorParallelSize": 4, "unifyTo": 2}, {"worldSize": 4}),
        ({"gaudi": {"generation": "g3"}}, {"generation": "g2"}),
        ({}, {"generation": "g4"}),
        ({}, {"output": "/data/inc/other/model"}),
        ({}, {"quantConfig": "/data/inc/other/q.json"}),
        ({}, {"manifest": "/etc/manifest.json"}),
        ({}, {"output": "/data/inc/../../etc"}),
    ],
    ids=str,
)
def test_a_result_that_was_not_asked_for_is_none(spec: dict[str, Any], said: dict[str, Any]) -> None:
    assert aim(measured(spec, **said)).result is None


def test_a_default_image_that_moves_moves_no_calibration() -> None:
    record, fingerprint = measuring()
    moved = Defaults({**DEFAULT.images, "gaudi": Image("registry.example/new:2", GAUDI_IMAGE.engine)})
    found = observed(None, record)
    assert calibration.aim(found, moved).fingerprint == fingerprint
    assert calibration.aim(observed(), moved).image == "registry.example/new:2"


def test_what_exists_is_checked_at_once_and_where_it_is() -> None:
    made = calibration.desired(observed(EXISTING), DEFAULT)
    assert made.target.staged == recipe.nothing_staged(observed(EXISTING).quantization.spec)
    arguments = kinds(made.manifests)["Job"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments[:2] == ["--existing", "/data/inc/model"]
    pinned = {"model": {"name": "org/Model", "revision": "d" * 40}}
    assert aim(observed(EXISTING | pinned)).staged == ("d" * 40, names.HUB, None, None)
    of = calibration_job(made.target.fingerprint or "")
    at = {"output": "/data/inc/model", "quantConfig": "/data/inc/model/q.json"}
    said = quantized.report(made.target.fingerprint or "", **at)
    done = observed(EXISTING, of, pods=(ended(of, said, component=names.CALIBRATION),))
    assert aim(done).result is not None


def test_a_claim_for_one_pod_and_an_unknown_engine_stall() -> None:
    alone = replace(observed(), claim=claim(access_modes=("ReadWriteOncePod",)))
    with pytest.raises(StalledError) as refused:
        aim(alone)
    assert refused.value.reason == Reason.CACHE_NOT_SHAREABLE
    old = {"image": "a", "engine": {"family": "vllm-gaudi", "version": "0.1"}}
    with pytest.raises(StalledError) as unknown:
        aim(observed(old))
    assert unknown.value.reason == Reason.INVALID_FOR_ENGINE


def test_what_is_over_goes_and_what_is_ours_alone() -> None:
    record, fingerprint = measuring()
    fetch = job(aim(observed()).job or "", uid="uid-fetch")
    theirs = child("ConfigMap", "theirs", owner="uid-2")
    older = replace(record, name="older", uid="uid-0", revision=0)
    found = observed(None, older, record, fetch, theirs, calibration_job(fingerprint))
    assert goes(found) == {"older", fetch.name}


@pytest.mark.parametrize(
    ("seconds", "now", "gone"),
    [(None, "2027-01-01T00:00:00Z", False), (60, NOW, False), (60, "2026-01-02T04:01:00Z", True)],
)
def test_the_job_of_a_result_is_kept_for_its_time(seconds: int | None, now: str, *, gone: bool) -> None:
    spec = {"ttlSecondsAfterFinished": seconds}
    done = measured(spec)
    of = next(each for each in done.children.values() if each.kind == "Job")
    found = observed(spec, recorded(done, 2), of)
    assert (goes(found, now) == {of.name}) is gone
    due = calibration.expiry(found, aim(found))
    assert due == (None if seconds is None else "2026-01-02T04:01:00Z")
    assert calibration.expiry(observed(spec, recorded(done, 2)), aim(found)) is None


def test_jobs_that_can_tell_nothing_are_made_anew() -> None:
    record, fingerprint = measuring()
    of = calibration_job(fingerprint, succeeded=True)
    assert goes(observed(None, record, of)) == {of.name}
    assert goes(observed(None, record, of, pods=(ended(of, "x", component=names.CALIBRATION),))) == set()
    waits = ended(of, "", component=names.CALIBRATION, exit_code=None, unschedulable="no node")
    beside = replace(of, succeeded=False, beside=True)
    assert goes(observed(None, record, beside, pods=(waits,))) == {of.name}
    holder = User(name="chat", claim="weights", held=True, cards=1, fp8=False)
    assert goes(observed(None, record, beside, pods=(waits,), users=(holder,))) == set()
    assert goes(observed(None, recorded(measured(), 2), of)) == set(), (
        "what is recorded is not measured again"
    )


def test_who_holds_the_claim_decides_where_jobs_run() -> None:
    holder = User(name="chat", claim="weights", held=True, cards=1, fp8=False)
    elsewhere = replace(holder, name="other", claim="own")
    idle = replace(holder, name="idle", held=False)
    found = observed(users=(holder, elsewhere, idle))
    assert recipe.holders(found) == ("chat",)
    shared = replace(found, claim=claim(access_modes=("ReadWriteMany",)))
    assert recipe.holders(shared) == ()
    assert calibration.basis(found) != calibration.basis(observed())
    affinity = kinds(calibration.desired(found, DEFAULT).manifests)["Job"]["spec"]["template"]["spec"][
        "affinity"
    ]
    assert "chat" in str(affinity)


def test_a_record_of_another_version_is_read_as_far_as_it_goes() -> None:
    done = recorded(measured(), 2)
    manifest = _stored(measured())
    newer = manifest["data"]
    newer["staged"]["checksum"] = newer["result"]["artifacts"]["signature"] = newer["later"] = "x"
    read = facts.child("ControllerRevision", manifest)
    assert isinstance(read, QuantizationRecord)
    assert (read.staged, read.result) == (done.staged, done.result)
    del newer["result"]["files"], newer["staged"]["hub"], newer["engine"]
    spoiled = facts.child("ControllerRevision", manifest)
    assert isinstance(spoiled, QuantizationRecord)
    assert (spoiled.staged, spoiled.result) == (None, None)
    assert aim(observed(None, spoiled)).engine == GAUDI_IMAGE.engine, "what names no engine pins none"


def _stored(found: ObservedQuantization) -> dict[str, Any]:
    made = calibration.desired(found, DEFAULT).manifests
    (manifest,) = [each for each in made if each["kind"] == "ControllerRevision"]
    manifest["metadata"] |= {"uid": "u", "resourceVersion": "1"}
    return manifest


def test_a_result_outlives_what_a_later_version_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = recorded(measured(), 2)
    monkeypatch.setattr(recipe, "fingerprint", lambda *_: "other")
    target = aim(observed(None, kept))
    assert (target.result, target.job) == (kept.result, None)
    assert target.fingerprint == kept.result.artifacts.fingerprint if kept.result else None


def test_a_raised_retry_tries_again_what_told_nothing() -> None:
    record, fingerprint = measuring({"retry": 1})
    of = calibration_job(fingerprint, succeeded=True)
    useless = ended(of, report(fingerprint, worldSize=8), component=names.CALIBRATION)
    assert goes(observed({"retry": 1}, record, of, pods=(useless,))) == {of.name}
    assert goes(observed({"retry": 0}, record, of, pods=(useless,))) == set()
    tried = replace(of, retry=1)
    assert goes(observed({"retry": 1}, record, tried, pods=(useless,))) == set()


def test_no_container_has_a_variable_twice() -> None:
    record, _ = measuring()
    for found in (observed(), observed(None, record), observed(EXISTING)):
        container = kinds(calibration.desired(found, DEFAULT).manifests)["Job"]["spec"]["template"]["spec"]
        ours = [each["name"] for each in container["containers"][0]["env"]]
        assert len(ours) == len(set(ours))
        assert set(ours) <= {*OWNED_VARIABLES}, "extraEnv could name it too"
