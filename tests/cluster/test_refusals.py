"""A real API server judges every case of the table as the models do, and gives our own reasons."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.cases.refusals import REFUSALS
from tests.cases.table import Case, changed
from tests.harness.api import Api, ApiError
from vllm_operator.api.meta import InvalidObjectError
from vllm_operator.api.vllmserver import VLLMServer

OLD = {name: case for name, case in REFUSALS.items() if case.old is not None}


def placed(change: Any, namespace: str) -> dict[str, Any]:
    body = changed(change)
    body["metadata"]["namespace"] = namespace
    return body


@pytest.fixture(scope="module")
def answers(cluster: Any) -> dict[str, str]:
    """What the API server says to each case that is an object of its own; empty where it takes it."""
    api: Api = cluster.api

    def ask(case: Case) -> str:
        try:
            api.create(placed(case.change, "default"), dry_run=True)
        except ApiError as error:
            return error.message
        return ""

    alone = [case for case in REFUSALS.values() if case.old is None]
    with ThreadPoolExecutor(8) as pool:
        return dict(zip((case.name for case in alone), pool.map(ask, alone), strict=True))


@pytest.mark.parametrize("name", [name for name in REFUSALS if name not in OLD])
def test_the_api_server_judges_as_the_models_do(answers: dict[str, str], name: str) -> None:
    case, answer = REFUSALS[name], answers[name]
    if case.accepted:
        assert answer == ""
        return
    assert answer
    # The API server judges a name itself before it asks anybody.
    if case.rule and not (case.root and re.search("RFC 1123|Required value: name", answer)):
        assert full_message(case) in answer
    if not case.root and case.path != "spec":
        # A key of a map is `limits.cpu` to the schema and `limits[cpu]` to a rule.
        above, _, last = case.path.rpartition(".")
        path = rf"{re.escape(above)}(\.{re.escape(last)}|\[{re.escape(last)}\])"
        assert re.search(rf"(^|[ {{\[]){path}(\[\d+\])?: ", answer), answer


def full_message(case: Case) -> str:
    """The whole message of a rule, as the models give it."""
    with pytest.raises(InvalidObjectError) as refusal:
        VLLMServer.parse(changed(case.change))
    (message,) = {
        problem.split(": ", 1)[1] for problem in refusal.value.problems if f": {case.rule}" in problem
    }
    return message


@pytest.mark.parametrize("case", OLD.values(), ids=OLD.keys())
def test_the_api_server_judges_updates(api: Api, namespace: str, case: Case) -> None:
    assert case.old is not None
    api.create(placed(case.old, namespace))
    stored = api.get("VLLMServer", namespace, "full")
    assert stored is not None
    body = placed(case.change, namespace)
    body["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"]
    path = f"/apis/vllm-operator.dev/v1alpha1/namespaces/{namespace}/vllmservers/full"
    if case.accepted:
        assert api.request("PUT", path, body)["spec"]["cache"] == body["spec"]["cache"]
        return
    with pytest.raises(ApiError, match=re.escape(case.path)) as refusal:
        api.request("PUT", path, body)
    assert case.rule in refusal.value.message


def test_a_whole_number_with_a_point_is_stored_as_a_whole_number(api: Api) -> None:
    """The one thing in which the models are stricter: what they are given was stored before."""
    stored = api.create(placed({"spec.tensorParallelSize": 2.0}, "default"), dry_run=True)
    assert VLLMServer.parse(stored).spec.tensor_parallel_size == 2
