"""The lives that pods of the tests may live look to their readers like those that a kubelet tells of."""

from functools import partial

import pytest

from tests.harness import manifests
from tests.harness.api import Api, Object, condition
from tests.harness.manifests import first_container, is_ready, waiting_state


def pod(namespace: str, life: str) -> Object:
    """Return a pod that names a Secret and a ConfigMap that are not there."""
    made = manifests.pod(namespace, "pod", environment={"TEST_LIFE": life})
    (container,) = made["spec"]["containers"]
    for name, source in (("secretKeyRef", "hf"), ("configMapKeyRef", "settings")):
        container["env"].append({"name": source, "valueFrom": {name: {"name": source, "key": "HF_TOKEN"}}})
    made["spec"]["volumes"] = [{"name": "chat-template", "configMap": {"name": "templates"}}]
    return made


def test_a_container_that_is_killed_for_its_memory_is_killed_again(api: Api, namespace: str) -> None:
    api.create(pod(namespace, "oom"))

    def restarted(least: int, obj: Object) -> bool:
        return bool(first_container(obj).get("restartCount", 0) >= least)

    for least in (1, 2):
        killed = api.wait_object("Pod", namespace, "pod", partial(restarted, least))
        assert waiting_state(killed)["reason"] == "CrashLoopBackOff"
        end = first_container(killed)["lastState"]["terminated"]
        assert (end["exitCode"], end["reason"], "message" in end) == (137, "OOMKilled", False)
        assert not is_ready(killed)


def go_on(api: Api, namespace: str) -> None:
    api.patch("Pod", namespace, "pod", {"metadata": {"annotations": {"test-found": "yes"}}})
    running = api.wait_object("Pod", namespace, "pod", is_ready)
    assert running["status"]["phase"] == "Running"


@pytest.mark.parametrize(
    ("life", "words"),
    [
        ("no-secret", 'secret "hf" not found'),
        ("no-config", 'configmap "settings" not found'),
        ("no-key", "couldn't find key HF_TOKEN in Secret {namespace}/hf"),
    ],
)
def test_what_the_environment_misses(api: Api, namespace: str, life: str, words: str) -> None:
    api.create(pod(namespace, life))
    waits = api.wait_object("Pod", namespace, "pod", waiting_state)
    state = {"reason": "CreateContainerConfigError", "message": words.format(namespace=namespace)}
    assert (waits["status"]["phase"], waiting_state(waits)) == ("Pending", state)
    go_on(api, namespace)


def test_a_volume_that_is_missed(api: Api, namespace: str) -> None:
    uid = api.create(pod(namespace, "no-mount"))["metadata"]["uid"]
    (event,) = api.wait_for(
        lambda: api.list("Event", namespace, fields=f"involvedObject.uid={uid},type=Warning")
    )
    assert (event["reason"], event["source"]["component"]) == ("FailedMount", "kubelet")
    words = 'MountVolume.SetUp failed for volume "chat-template" : configmap "templates" not found'
    assert event["message"] == words
    assert event["lastTimestamp"]
    waits = api.wait_object("Pod", namespace, "pod")
    assert (waits["status"]["phase"], waiting_state(waits)) == ("Pending", {"reason": "ContainerCreating"})
    go_on(api, namespace)


def test_an_eviction_takes_one_pod_only(api: Api, namespace: str) -> None:
    api.create(manifests.deployment(namespace, "plain"))
    (first,) = api.wait_for(lambda: [each for each in api.list("Pod", namespace) if is_ready(each)])
    name = first["metadata"]["name"]
    api.patch("Pod", namespace, name, {"metadata": {"annotations": {"test-evict": "yes"}}})
    evicted = api.wait_object("Pod", namespace, name, lambda obj: obj["status"]["phase"] == "Failed")
    assert evicted["status"]["reason"] == "Evicted"
    assert evicted["status"]["message"].startswith("The node was low on resource: memory. ")
    assert condition(evicted, "Ready")["status"] == "False"
    (second,) = api.wait_for(lambda: [each for each in api.list("Pod", namespace) if is_ready(each)])
    assert second["metadata"]["name"] != name
