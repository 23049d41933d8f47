"""Records: what names one, what it pins, which may go."""

from typing import Any

import pytest

from tests.cases.table import Change
from tests.unit.things import (
    ARTIFACTS,
    DEFAULT,
    DEFAULT_IMAGE,
    EVERY_NODE,
    RECORD,
    claim,
    defaults,
    deployment,
    full,
    kinds,
    observed,
    pod,
    quantization,
    record,
    record_of,
    server,
)
from tests.unit.walk import LeafChange, leaf_changes
from vllm_operator.api.observed import Observed
from vllm_operator.desired.defaults import Image
from vllm_operator.desired.records import image, inputs, pack, superfluous, unpack
from vllm_operator.desired.server import desired

OTHER = Image("registry.example/newer:v2", "vllm 0.32")

NOT_IN_PODS = {
    "spec.replicas",
    "spec.autoscaling.minReplicas",
    "spec.autoscaling.maxReplicas",
    "spec.autoscaling.target.metric",
    "spec.autoscaling.target.averageValue",
    "spec.autoscaling.scaleUp.stabilizationWindowSeconds",
    "spec.autoscaling.scaleDown.stabilizationWindowSeconds",
    "spec.autoscaling.scaleDown.periodSeconds",
    "spec.monitoring.podMonitor.interval",
    "spec.monitoring.podMonitor.labels.release",
    "spec.paused",
    "spec.verify",
    "spec.rollout.progressDeadlineSeconds",
    "spec.service.annotations.note",
    "spec.service.port",
    "spec.service.type",
    "spec.cache.size",
    "spec.cache.storageClassName",
    "spec.cache.accessModes[]",
    "spec.cache.retention",
    "spec.microservice.connector",
    "spec.microservice.enabled",
    "spec.microservice.image",
    "spec.microservice.port",
    "spec.microservice.replicas",
    "spec.microservice.resources.limits.cpu",
    "spec.microservice.resources.requests.cpu",
    # What comes of them decides.
    "spec.fp8.quantizationRef.name",
    "spec.fp8.whilePending",
    # Policies are of the network around pods.
    *(f"spec.networkPolicy.from[].ipBlock.{leaf}" for leaf in ("cidr", "except[]")),
    *(
        f"spec.networkPolicy.from[].{selector}.{leaf}"
        for selector in ("podSelector", "namespaceSelector")
        for leaf in ("matchLabels.a", *(f"matchExpressions[].{x}" for x in ("key", "operator", "values[]")))
    ),
}
"""Fields that decide no pod, told here once more."""

CHANGES = leaf_changes()


def digest_of(seen: Observed, default: Image = DEFAULT_IMAGE) -> str:
    found, pinned = image(seen, defaults(default))
    return inputs(seen.server, found, pinned=pinned, cached=None).digest


def seen(leaf: LeafChange, change: Change) -> Observed:
    """A full server, and the quantization that it names, unless the leaf is about there being none yet."""
    of = full(change)
    reference = of.spec.fp8.quantization_ref if of.spec.fp8 else None
    there = reference is not None and reference.name == "calibrated"
    if not there or leaf.field == "spec.fp8.whilePending":
        return observed(of)
    result = ARTIFACTS._replace(generation="g3")
    fits = quantization(revision="main", claim="full-cache", world_size=2, result=result)
    return observed(of, quantization=fits)


@pytest.mark.parametrize("leaf", CHANGES, ids=lambda leaf: leaf.field)
def test_every_field_but_a_few_names_another_record(leaf: LeafChange) -> None:
    before, after = seen(leaf, leaf.before), seen(leaf, leaf.after)
    same = digest_of(before) == digest_of(after)
    assert same is (leaf.field in NOT_IN_PODS)
    made = [kinds(desired(each, EVERY_NODE).manifests) for each in (before, after)]
    assert (made[0] != made[1]) is (leaf.field not in ("spec.paused", "spec.verify"))


def test_the_fields_that_decide_no_pod_exist() -> None:
    assert {leaf.field for leaf in CHANGES} >= NOT_IN_PODS


def test_a_given_claim_names_another_record() -> None:
    given = {"spec.cache": {"claimName": "weights"}}
    assert digest_of(observed(full(given))) != digest_of(observed(full()))
    assert digest_of(observed(full(given))) != digest_of(
        observed(full({"spec.cache": {"claimName": "other"}}))
    )


def test_a_default_that_is_written_out_names_the_same_record() -> None:
    written = {
        "tensorParallelSize": 1,
        "engineArgs": {"dtype": "bfloat16"},
        "warmup": {"timeoutSeconds": 7200},
    }
    assert digest_of(observed(server(written))) == digest_of(observed(server()))


def test_quantities_of_one_value_name_the_same_record() -> None:
    one, other = (
        {"shmSize": size, "resources": {"limits": {"cpu": cpu}}}
        for size, cpu in (("2Gi", 8), ("2048Mi", "8000m"))
    )
    assert digest_of(observed(server(one))) == digest_of(observed(server(other)))


def first(spec: dict[str, Any] | None = None) -> tuple[Any, Any]:
    """The children of a new server, and the facts of its record."""
    made = desired(observed(server(spec)), DEFAULT)
    return made, record_of(kinds(made.manifests)["ControllerRevision"])


def test_the_default_image_is_pinned_by_the_first_record() -> None:
    made, known = first()
    assert made.target.image == DEFAULT_IMAGE.image
    later = desired(observed(server(generation=2), known), defaults(OTHER))
    assert (later.target.image, later.target.record) == (DEFAULT_IMAGE.image, made.target.record)


def test_the_default_image_stays_through_an_edit() -> None:
    _, known = first()
    edited = desired(observed(server({"engineArgs": {"seed": 1}}), known), defaults(OTHER))
    assert edited.target.image == DEFAULT_IMAGE.image
    written = kinds(edited.manifests)["ControllerRevision"]
    assert (written["revision"], written["data"]["inputs"]["defaultImage"]) == (2, True)
    again = desired(observed(server({"engineArgs": {"seed": 2}}), known, record_of(written)), defaults(OTHER))
    assert again.target.image == DEFAULT_IMAGE.image


def test_the_newest_pin_counts() -> None:
    records = (record("b", 2, OTHER), record("a", 1, DEFAULT_IMAGE), record("c", 3, None))
    assert image(observed(server(), *records), DEFAULT) == (OTHER, True)


def test_a_new_server_takes_the_new_default() -> None:
    assert desired(observed(), defaults(OTHER)).target.image == OTHER.image
    assert digest_of(observed(), OTHER) != digest_of(observed())


def test_an_image_of_ones_own_is_not_pinned() -> None:
    spec = {"image": "own:1", "engine": {"family": "vllm", "version": "0.32"}}
    made, known = first(spec)
    assert made.target.image == "own:1"
    assert (known.default_image, known.default_engine) == (None, None)
    assert desired(observed(server(), known), defaults(OTHER)).target.image == OTHER.image


def test_the_same_image_named_and_by_default_are_two_records() -> None:
    """Else a named image would be taken for a pinned default, or the other way round."""
    spec = {"image": DEFAULT_IMAGE.image, "engine": {"family": "vllm", "version": "0.32"}}
    assert digest_of(observed(server(spec))) != digest_of(observed())


def test_the_recorded_template_is_used() -> None:
    made, known = first()
    old = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "old"}]}}
    found = record(made.target.record, 1, DEFAULT_IMAGE, old)
    assert found.name == known.name
    later = desired(observed(server(), found), defaults(OTHER))
    by_kind = kinds(later.manifests)
    assert by_kind["Deployment"]["spec"]["template"] == old
    assert "ControllerRevision" not in by_kind


def test_pack_and_unpack() -> None:
    template = {"a": ["\U0001f600\x7f\x85", 1, None, True], "b": {}}
    assert unpack(pack(template)) == template


def names_of(seen: Observed, current: str = RECORD) -> list[str]:
    return [found.name for found in superfluous(seen, current)]


def test_before_the_roll_out_the_oldest_stays() -> None:
    records = [record(name, number) for number, name in enumerate(("good", "bad", "worse", RECORD), 1)]
    rolling = deployment(progressing="ReplicaSetUpdated")
    assert names_of(observed(server(), *records, rolling)) == ["chat-bad", "chat-worse"]
    assert names_of(observed(server(), *records)) == ["chat-bad", "chat-worse"]


def test_after_the_roll_out_all_others_go() -> None:
    records = [record(name, number) for number, name in enumerate(("good", "bad", RECORD), 1)]
    assert names_of(observed(server(), *records, deployment())) == ["chat-good", "chat-bad"]


def test_the_current_record_never_goes() -> None:
    back = [record(RECORD, 1), record("newer", 2)]
    assert names_of(observed(server(), *back, deployment())) == ["chat-newer"]
    assert names_of(observed(server(), *back)) == []
    assert names_of(observed(server(), record(RECORD, 1), deployment())) == []


def test_records_are_in_the_order_of_their_revisions() -> None:
    seen = observed(server(), record("c", 3), record("a", 1), record("b", 2), claim=claim(), pods=[pod()])
    assert [found.revision for found in seen.records] == [1, 2, 3]


@pytest.mark.parametrize("spoiled", [None, {}, {"name": "q"}, {"name": "q", "sha256": 1}])
def test_a_record_that_somebody_has_spoiled_serves_with_no_quantization(spoiled: Any) -> None:
    made = desired(observed(), DEFAULT)
    manifest = kinds(made.manifests)["ControllerRevision"]
    manifest["data"]["inputs"]["quantization"] = spoiled
    assert record_of(manifest).quantization is None
