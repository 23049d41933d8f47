"""An operator that is told which images are allowed: what serves goes on, and of others nothing is made."""

from tests.cluster import support
from tests.harness.api import Api, Object
from tests.harness.audit import Audit
from tests.harness.operator import Cluster, OperatorProcess

MIRROR = "mirror.example/vllm-cpu:v0.32.1"
STRICT = {
    "VLLM_OPERATOR_ALLOWED_IMAGES": "mirror.example/",
    "VLLM_OPERATOR_CPU_IMAGE": MIRROR,
    "VLLM_OPERATOR_CPU_ENGINE": "vllm 0.32",
    "VLLM_OPERATOR_GAUDI_IMAGE": "mirror.example/vllm-gaudi:v1",
    "VLLM_OPERATOR_GAUDI_ENGINE": "vllm-gaudi 0.26",
}
OWN: Object = {"image": "mirror.example.evil/vllm:v1", "engine": support.ENGINE}


def test_only_images_that_are_allowed_start_anything_new(
    cluster: Cluster, api: Api, namespace: str, audit: Audit
) -> None:
    with OperatorProcess(cluster, [namespace]) as first:
        support.put(api, support.server(namespace))
        support.wait_serving(api, namespace)
        support.wait_at_rest(audit, first, namespace)
    deployment, mark = support.child(api, namespace, "Deployment", "chat"), audit.mark()
    with OperatorProcess(cluster, [namespace], STRICT) as second:
        api.wait_object("VLLMServer", namespace, "chat", lambda obj: obj["status"]["refreshAvailable"])
        support.wait_at_rest(audit, second, namespace)
        written = support.shown(audit.writes(second.user, since=mark))
        assert len(written) == 1, written
        assert "/vllmservers/chat/status" in written[0]
        api.scale("VLLMServer", namespace, "chat", 2)
        support.wait_serving(api, namespace)

        support.put(api, support.server(namespace, engineArgs={"seed": 1}))
        words = (
            "is not allowed: the operator's admin allows what is below mirror.example. Change spec.rollout"
        )
        support.wait_stalled(api, namespace, "chat", "ImageNotAllowed", words=words)
        template = deployment["spec"]["template"]
        assert support.child(api, namespace, "Deployment", "chat")["spec"]["template"] == template
        support.put(api, support.server(namespace, "new", prefetch=True, **OWN))
        words = f"spec.image: {OWN['image']} is not allowed"
        support.wait_stalled(api, namespace, "new", "ImageNotAllowed", words=words)
        assert support.children(api, namespace, "new") == {}, "not even a prefetch, which would run it"

        edit: Object = {"engineArgs": {"seed": 1}, "rollout": {"refresh": "mirror"}}
        support.put(api, support.server(namespace, **edit))
        assert support.wait_serving(api, namespace)["status"]["image"] == MIRROR
