"""Names of children: never too long, and never those of another resource's."""

import re
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_quantization_leaves import STAGED, record
from tests.unit.test_quantization_leaves import observed as seen_of
from tests.unit.things import DEFAULT, GAUDI_IMAGE, observed
from vllm_operator.api.fp8quantization import FP8Quantization
from vllm_operator.api.kinds import CLASSES, Ours
from vllm_operator.api.meta import InvalidObjectError
from vllm_operator.api.observed import Cached
from vllm_operator.api.resource import NAME_PATTERN, RESERVED_SUFFIXES
from vllm_operator.api.seen import Manifest
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.desired import calibration, names
from vllm_operator.desired.server import desired

SPECS = {
    VLLMServer.kind: {
        "model": {"name": "org/model"},
        "device": "gaudi",
        "cache": {"size": "1Gi"},
        "replicas": 2,
    },
    FP8Quantization.kind: {
        "model": {"name": "org/model", "trustRemoteCode": True},
        "cache": {"claimName": "weights"},
        "dataset": {"huggingFace": {"name": "org/data"}},
    },
}
each_kind = pytest.mark.parametrize("kind", SPECS)


def resource(kind: str, name: str) -> Ours:
    metadata = {"name": name, "namespace": "ns", "uid": f"{kind} {name}", "generation": 1}
    return CLASSES[kind].parse({"metadata": metadata, "spec": SPECS[kind]})


@cache
def children(kind: str, name: str) -> tuple[Manifest, ...]:
    """All that a resource ever makes."""
    of = resource(kind, name)
    if isinstance(of, VLLMServer):
        caches = (None, Cached("c" * 40, names.HUB))
        stages_of_server = [desired(observed(of), DEFAULT, cached).manifests for cached in caches]
        return (*stages_of_server[0], *stages_of_server[1])
    data = {"image": GAUDI_IMAGE.image, "engine": GAUDI_IMAGE.engine}
    stages = (seen_of(of), seen_of(of, record(of, data | {"staged": STAGED._asdict()})))
    return tuple(manifest for stage in stages for manifest in calibration.desired(stage, DEFAULT).manifests)


def refs(kind: str, name: str) -> set[tuple[str, str]]:
    """Kinds and names of all of them; any other digest of that length could stand in a name too."""
    found = set()
    for manifest in children(kind, name):
        ref = manifest["metadata"]["name"]
        if manifest["kind"] in ("ControllerRevision", "Job"):
            before, _, digest = ref.rpartition("-")
            ref = f"{before}-{'x' * len(digest)}"
        found.add((manifest["kind"], ref))
    return found


LETTERS = st.from_regex(re.compile(NAME_PATTERN, re.ASCII), fullmatch=True)
DIGEST = "0123456789"
ENDINGS = st.sampled_from(
    [
        *("", "", "-vllm", "-cache", "-fp8q", "-prefetch", f"-{DIGEST}", f"-prefetch-{DIGEST}"),
        *(f"-fp8q-{DIGEST[:8]}", f"-fp8q-prefetch-{DIGEST[:8]}"),
    ]
)
"""Names may end like those of children."""
NAMES = (
    st.tuples(st.sampled_from(["a", "b-fp8q-a", "a-prefetch-b"]) | LETTERS, ENDINGS)
    .map("".join)
    .filter(lambda name: re.fullmatch(NAME_PATTERN, name) and not name.endswith(RESERVED_SUFFIXES))
)
RESOURCES = st.tuples(st.sampled_from(list(SPECS)), NAMES)


@given(RESOURCES, RESOURCES)
def test_no_two_resources_share_a_name_of_a_child(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert one == other or not refs(*one) & refs(*other)


@given(NAMES)
def test_a_server_and_a_quantization_of_one_name_share_nothing(name: str) -> None:
    server, quantization = (refs(kind, name) for kind in SPECS)
    assert len(server) > 6
    assert len(quantization) > 4
    assert not server & quantization


@each_kind
@pytest.mark.parametrize("suffix", ["-fp8q", "-llm", "-prefetch"])
def test_a_name_that_could_be_a_childs_is_refused(kind: str, suffix: str) -> None:
    with pytest.raises(InvalidObjectError, match="such names are taken by children"):
        resource(kind, f"a{suffix}")


@each_kind
@given(NAMES)
def test_names_are_short_enough(kind: str, name: str) -> None:
    check_lengths(kind, name)


@each_kind
def test_the_longest_name_is_short_enough(kind: str) -> None:
    check_lengths(kind, "a" * 40)
    with pytest.raises(InvalidObjectError, match="at most 40"):
        resource(kind, "a" * 41)


def check_lengths(kind: str, name: str) -> None:
    """Names of Jobs become labels of their pods, names of Services parts of host names."""
    for manifest in children(kind, name):
        metadata = manifest["metadata"]
        assert re.fullmatch("[a-z0-9]([-a-z0-9]*[a-z0-9])?", metadata["name"])
        # A Deployment's ReplicaSets and pods have longer names yet.
        assert len(metadata["name"]) <= (47 if manifest["kind"] == "Deployment" else 63)
        template = manifest.get("spec", {}).get("template", {}).get("metadata", {})
        values = [*metadata["labels"].values(), *template.get("labels", {}).values()]
        assert all(len(value) <= 63 for value in values)
        assert metadata["labels"][names.label(kind)] == name
