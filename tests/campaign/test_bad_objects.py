"""No bad object wedges a server: the good spec, a bad one, the good spec again, and all is as it was."""

import json
from functools import partial

import pytest

from tests.campaign import masks
from tests.campaign.bad import Bad, bads
from tests.campaign.base import CLASS
from tests.campaign.equipment import furnish
from tests.campaign.lanes import Outcomes, chosen, merged, outcome, put
from tests.campaign.view import NAME
from tests.cluster import support
from tests.harness.api import Api, ApiError, Object
from tests.harness.operator import Cluster, OperatorProcess

BADS = {bad.name: bad for bad in bads()}
MODES = {"surges": "ReadWriteMany", "replaces": "ReadWriteOnce"}
"""Whether a new pod starts beside the old one, which then serves on."""
LANES = 2


def good(mode: str) -> Object:
    """A spec that works."""
    cache = {"size": "10Gi", "storageClassName": CLASS, "accessModes": [MODES[mode]]}
    return {"model": {"name": "org/model"}, "device": "cpu", "cache": cache, "prefetch": False}


def play(api: Api, namespace: str, mode: str, bad: Bad) -> None:
    """Put a bad spec on a server that serves, and take it back."""
    put(api, namespace, good(mode))
    support.wait_serving(api, namespace, NAME)
    before, pods = masks.children(api, namespace), pod_uids(api, namespace)
    if bad.stranger:
        api.create(
            json.loads(json.dumps(bad.stranger)) | {"metadata": {"name": NAME, "namespace": namespace}}
        )
    if bad.refused:
        is_refused(api, namespace, good(mode) | bad.fields, bad.refused)
    else:
        put(api, namespace, good(mode) | bad.fields)
        support.wait_condition(api, namespace, NAME, bad.reason, "False", words=bad.words)
    put(api, namespace, good(mode))
    support.wait_serving(api, namespace, NAME)
    if bad.stranger:
        api.delete(bad.stranger["kind"], namespace, NAME)

    def is_as_before() -> bool:
        after = masks.children(api, namespace)
        assert masks.uids(after) == masks.uids(before)
        now, then = masks.masked(after, namespace), masks.masked(before, namespace)
        assert {ref for ref in then if now[ref] != then[ref]} == set()
        if bad.harmless or bad.refused:
            generations = [found["Deployment", NAME]["metadata"]["generation"] for found in (before, after)]
            assert generations[0] == generations[1], "the Deployment was touched"
        running = pod_uids(api, namespace)
        assert len(running) == 1, running
        assert running == pods or not (bad.harmless or bad.refused or mode == "surges"), "another pod"
        return True

    api.wait_for(is_as_before, message="all is as it was")


def pod_uids(api: Api, namespace: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in api.list("Pod", namespace)}


def is_refused(api: Api, namespace: str, spec: Object, words: str) -> None:
    before = support.child(api, namespace, "VLLMServer", NAME)
    answer = "it was taken"
    try:
        put(api, namespace, spec)
    except ApiError as error:
        answer = error.message
    assert words in answer, answer
    after = support.child(api, namespace, "VLLMServer", NAME)
    assert support.version(after) == support.version(before)


def lane(mode: str, some: list[Bad], api: Api) -> Outcomes:
    namespace = furnish(api)
    return {f"{mode} {bad.name}": outcome(partial(play, api, namespace, mode, bad)) for bad in some}


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, furnished: Cluster, shared: OperatorProcess) -> Outcomes:
    """What is wrong with each: all that were chosen are played, one after the other on a few servers."""
    some = [BADS[name] for name in chosen(request, "bad")]
    jobs = [partial(lane, mode, some[number::LANES]) for mode in MODES for number in range(LANES)]
    return merged(furnished.kubeconfig, jobs, len(jobs))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bad", BADS)
def test_a_bad_object_leaves_nothing_behind(outcomes: Outcomes, bad: str, mode: str) -> None:
    if outcomes[f"{mode} {bad}"]:
        pytest.fail(outcomes[f"{mode} {bad}"], pytrace=False)
