"""Text of a resource that could be taken for something else, on its way into the pods of a server in FP8."""

from tests.cluster import prefetching, quantizing, support
from tests.harness.api import Api
from tests.harness.operator import OperatorProcess

FOLDER = "/data/inc/$(HOME): {{ 7 * 7 }} '\"\\\u2028\u00e9\U0001f600"


def test_a_folder_of_any_name_is_mounted(api: Api, namespace: str, operator: OperatorProcess) -> None:
    """The API server takes the mounts and words, and nothing differs for ever."""
    quantizing.make_claim(api, namespace)
    obj = quantizing.quantization(namespace, life="held", existing={"path": FOLDER})
    del obj["spec"]["dataset"]
    support.put(api, obj)
    job = quantizing.job(api, namespace, "calibration")
    said = quantizing.result(job, output=FOLDER, quantConfig=f"{FOLDER}/q.json")
    prefetching.end(api, namespace, job, message=said)
    support.put(api, quantizing.fp8_server(namespace))
    support.wait_condition(api, namespace, "chat", "Quantized", "True", kind="Quantized")
    support.wait_serving(api, namespace)
    spec = support.child(api, namespace, "Deployment", "chat")["spec"]["template"]["spec"]
    found = {each["mountPath"]: each.get("subPath") for each in spec["containers"][0]["volumeMounts"]}
    assert found[FOLDER] == FOLDER.removeprefix("/data/")
    (verify,) = spec["initContainers"]
    assert verify["args"][1] == FOLDER.replace("$", "$$")
