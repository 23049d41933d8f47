"""A revision that is held in FP8 while a prefetch of the one asked for has ended: nothing begins anew."""

import json
from typing import Any

import pytest

from tests.unit.things import (
    DEFAULT,
    child,
    claim,
    deployment,
    job,
    kinds,
    observed,
    pod,
    quantization,
    record_of,
    server,
)
from vllm_operator.api.observed import Cached, QuantizationState
from vllm_operator.desired.server import desired, superfluous

OLD, NEW = "a" * 40, "b" * 40
BASE: dict[str, Any] = {
    "device": "gaudi",
    "prefetch": True,
    "fp8": {"quantizationRef": {"name": "q"}},
    "model": {"name": "org/model", "revision": "v1"},
}
READY = quantization(revision="v1", commit=OLD)
OTHER_ENGINE = quantization(revision="v1", commit=OLD, engine="vllm-gaudi 0.25")


@pytest.mark.parametrize(
    ("edit", "state", "commit"),
    [
        ({"model": {"name": "org/model", "revision": "v2"}}, READY, NEW),
        ({"rollout": {"refresh": "x"}}, None, NEW),
        ({"rollout": {"refresh": "x"}}, OTHER_ENGINE, OLD),
        ({"model": {"name": "org/model", "revision": "v1", "trustRemoteCode": True}}, None, OLD),
    ],
    ids=["revision", "moved", "engine", "code"],
)
def test_what_a_prefetch_has_told_is_not_asked_for_again(
    edit: dict[str, Any], state: QuantizationState | None, commit: str
) -> None:
    first = desired(
        observed(server(BASE), claim=claim(), quantization=READY), DEFAULT, Cached(OLD, "/data/hub")
    )
    record = record_of(kinds(first.manifests)["ControllerRevision"])
    runs = [record, deployment(record=first.target.record)]
    serves = pod(record=first.target.record)
    edited = server(BASE | edit, generation=2)
    asked = desired(observed(edited, *runs, claim=claim(), pods=[serves], quantization=state), DEFAULT)
    fetch = job(kinds(asked.manifests)["Job"]["metadata"]["name"], succeeded=True)
    report = {"commit": commit, "cache": "/data/hub", "files": 1, "bytes": 1, "downloaded": 0}
    told = pod(
        name="fetch",
        record=None,
        job=fetch.name,
        job_uid=fetch.uid,
        ready=False,
        exit_code=0,
        container="prefetch",
        last_words=json.dumps(report | {"adopted": {"files": 0}}),
    )
    script = child("ConfigMap", "chat-prefetch")
    seen = observed(edited, *runs, fetch, script, claim=claim(), pods=[serves, told], quantization=state)
    after = desired(seen, DEFAULT)
    assert after.target.quantizing is not None
    assert after.target.quantizing.held
    refs = {(each["kind"], each["metadata"]["name"]) for each in after.manifests}
    assert superfluous(seen, refs, after.target) == ()
