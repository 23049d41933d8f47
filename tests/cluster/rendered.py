"""What the operator makes of an object that is in no cluster, stage by stage, and its controllers of that."""

from tests.cluster import support
from tests.harness.api import Object
from vllm_operator.api.kinds import Ours
from vllm_operator.api.observed import Cached, Observed
from vllm_operator.api.quantized import ObservedQuantization, QuantizationRecord, Staged
from vllm_operator.api.seen import Manifest
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.desired import calibration
from vllm_operator.desired.defaults import Defaults, Image
from vllm_operator.desired.server import desired

DEFAULT = Defaults(
    {"cpu": Image(support.IMAGE, "vllm 0.32"), "gaudi": Image(support.IMAGE, "vllm-gaudi 0.26")}
)
CACHED = Cached("0" * 40, "/data/hub")
STAGED = Staged(CACHED.commit, CACHED.hub, "/data/datasets/a.pkl", "0" * 64)


def stages(resource: Ours, defaults: Defaults) -> list[list[Manifest]]:
    """The children of a new object, and those that come when its cache is filled."""
    if isinstance(resource, VLLMServer):
        server = Observed(server=resource, children={}, claim=None, pods=())
        return [list(desired(server, defaults, cached).manifests) for cached in (None, CACHED)]
    record = QuantizationRecord(
        kind="ControllerRevision",
        name="record",
        uid="1",
        resource_version=1,
        owner=resource.uid,
        resource=(resource.kind, resource.name),
        deleting=False,
        digest=b"",
        revision=1,
        image=support.IMAGE,
        engine="vllm-gaudi 0.26",
        staged=STAGED,
        result=None,
    )
    seen = [
        ObservedQuantization(quantization=resource, children=children, claim=None, pods=())
        for children in ({}, {(record.kind, record.name): record})
    ]
    return [list(calibration.desired(each, defaults).manifests) for each in seen]


def pod(controller: Manifest) -> Object:
    """A pod as the controller of a Deployment or Job makes it, but of an account that is there already."""
    template = controller["spec"]["template"]
    metadata = {"generateName": "fuzz-", "namespace": controller["metadata"]["namespace"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": template["metadata"] | metadata,
        "spec": template["spec"] | {"serviceAccountName": "default"},
    }
