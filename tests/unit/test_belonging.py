"""Which resource of ours an object belongs to."""

from typing import Any

import pytest

from vllm_operator.controller.facts import child, resource_of

SERVER = ("VLLMServer", "chat")
QUANTIZATION = ("FP8Quantization", "chat")
SERVER_LABEL, QUANTIZATION_LABEL = "vllm-operator.dev/server", "vllm-operator.dev/quantization"
OURS, FOREIGN = "vllm-operator.dev/v1alpha1", "serving.example/v1"


def owner(kind: str, name: str = "chat", version: str = OURS, *, controls: bool = True) -> dict[str, Any]:
    named = {"apiVersion": version, "kind": kind, "name": name, "uid": f"uid-of-{kind}"}
    return {**named, "controller": controls}


def body(*owners: dict[str, Any], **labels: str) -> dict[str, Any]:
    named = {"server": SERVER_LABEL, "quantization": QUANTIZATION_LABEL, "app": "app"}
    metadata: dict[str, Any] = {"name": "a", "uid": "u", "resourceVersion": "1"}
    metadata["labels"] = {named[key]: value for key, value in labels.items()}
    return {"metadata": metadata | ({"ownerReferences": list(owners)} if owners else {})}


JOB = owner("Job", version="batch/v1")


@pytest.mark.parametrize(
    ("found", "obj"),
    [
        (None, {"metadata": {}}),
        (None, {"metadata": {"labels": None, "ownerReferences": None}}),
        (None, body(app="x")),
        (None, body(server="")),
        (SERVER, body(server="chat")),
        (QUANTIZATION, body(quantization="chat")),
        (SERVER, body(owner("VLLMServer"))),
        (QUANTIZATION, body(owner("FP8Quantization"))),
        # Labels that were edited away, or into another resource's, change nothing.
        (SERVER, body(owner("VLLMServer"), server="other")),
        (QUANTIZATION, body(owner("FP8Quantization"), server="chat")),
        (SERVER, body(owner("VLLMServer"), quantization="chat")),
        # A later version of our own API.
        (SERVER, body(owner("VLLMServer", version="vllm-operator.dev/v1"))),
        # Pods, whose controller is a ReplicaSet or a Job.
        (SERVER, body(owner("ReplicaSet", version="apps/v1"), server="chat")),
        (QUANTIZATION, body(JOB, quantization="chat")),
        (None, body(JOB)),
        # An owner that does not control is no owner.
        (None, body(owner("VLLMServer", controls=False))),
        (SERVER, body(JOB, owner("FP8Quantization", controls=False), server="chat")),
        # The same word in another group is another kind.
        (None, body(owner("VLLMServer", version=FOREIGN))),
        (None, body(owner("VLLMServer", version="vllm-operator.dev.example/v1"))),
    ],
)
def test_the_resource_of_an_object(found: tuple[str, str] | None, obj: dict[str, Any]) -> None:
    assert resource_of(obj) == found


@pytest.mark.parametrize(
    ("found", "obj"),
    [
        (SERVER, body(server="chat")),
        (SERVER, body(owner("VLLMServer"))),
        (QUANTIZATION, body(owner("FP8Quantization"), server="other")),
        (None, body(JOB, quantization="chat")),
        (None, body(owner("StatefulSet", version="apps/v1"), server="chat")),
        (None, body(owner("VLLMServer", version=FOREIGN), server="chat")),
    ],
)
def test_what_something_else_controls_is_nobodys_child(
    found: tuple[str, str] | None, obj: dict[str, Any]
) -> None:
    """Whatever its labels say."""
    made = child("Service", obj)
    assert made.resource == found
    assert made.owner == next((o["uid"] for o in obj["metadata"].get("ownerReferences", ())), None)
