"""A real API server judges every case of the table as the models do, in the very words that are recorded."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.cases import recorded
from tests.cases.refusals import REFUSALS
from tests.cases.table import SERVER, Case, Change, changed
from tests.harness.api import Api, ApiError
from tests.harness.controlplane import ControlPlane
from tests.harness.kinds import KINDS
from vllm_operator.api.kinds import CLASSES
from vllm_operator.api.meta import InvalidObjectError
from vllm_operator.api.vllmserver import VLLMServer

OLD = {name: case for name, case in REFUSALS.items() if case.old is not None}
RECORDED = recorded.read()
Answers = dict[str, str]


def placed(change: Change, namespace: str, kind: str = SERVER) -> dict[str, Any]:
    body = changed(change, kind)
    body["metadata"]["namespace"] = namespace
    return body


def told(error: ApiError, body: dict[str, Any]) -> str:
    return recorded.answer(body["kind"], body["metadata"]["name"], error.message, error.details)


@pytest.fixture(scope="module")
def answers(cluster: Any) -> Answers:
    """What the API server says to each case that is an object of its own; empty where it takes it."""
    api: Api = cluster.api

    def ask(case: Case) -> str:
        body = placed(case.change, "default", case.kind)
        try:
            api.create(body, dry_run=True)
        except ApiError as error:
            return told(error, body)
        return ""

    alone = [case for case in REFUSALS.values() if case.old is None]
    with ThreadPoolExecutor(8) as pool:
        return dict(zip((case.name for case in alone), pool.map(ask, alone), strict=True))


@pytest.fixture(scope="module")
def record(request: pytest.FixtureRequest) -> Iterator[Answers]:
    """The recorded answers; with `--update-refusals` those that are put here become the record."""
    if not request.config.getoption("--update-refusals"):
        yield RECORDED
        return
    heard: Answers = {}
    yield heard
    refused = {name for name, case in REFUSALS.items() if not case.accepted}
    recorded.write({name: text for name, text in (RECORDED | heard).items() if name in refused})


def check_words(
    request: pytest.FixtureRequest, cluster: Any, record: Answers, name: str, answer: str
) -> None:
    """Compare with the record, which is that of our own API server's version."""
    if request.config.getoption("--update-refusals"):
        record[name] = answer
    if isinstance(cluster, ControlPlane):
        assert answer == record[name]


@pytest.mark.parametrize("name", [name for name in REFUSALS if name not in OLD])
def test_the_api_server_judges_as_the_models_do(
    request: pytest.FixtureRequest, cluster: Any, answers: Answers, record: Answers, name: str
) -> None:
    case, answer = REFUSALS[name], answers[name]
    if case.accepted:
        assert answer == ""
        return
    assert answer
    check_words(request, cluster, record, name, answer)
    # Without a name the API server asks for our rules no more.
    if case.rule and not (case.root and "name or generateName is required" in answer):
        assert full_message(case) in answer
    if not case.root and case.path != "spec":
        # A key of a map is `limits.cpu` to the schema and `limits[cpu]` to a rule.
        above, _, last = case.path.rpartition(".")
        path = rf"{re.escape(above)}(\.{re.escape(last)}|\[{re.escape(last)}\])"
        assert re.search(rf"(^|; ){path}(\[\d+\])?: ", answer), answer


def full_message(case: Case) -> str:
    """The whole message of a rule, as the models give it."""
    with pytest.raises(InvalidObjectError) as refusal:
        CLASSES[case.kind].parse(changed(case.change, case.kind))
    (message,) = {
        problem.split(": ", 1)[1] for problem in refusal.value.problems if f": {case.rule}" in problem
    }
    return message


@pytest.mark.parametrize("case", OLD.values(), ids=OLD.keys())
def test_the_api_server_judges_updates(
    request: pytest.FixtureRequest, cluster: Any, namespace: str, record: Answers, case: Case
) -> None:
    assert case.old is not None
    api: Api = cluster.api
    stored = api.create(placed(case.old, namespace, case.kind))
    body = placed(case.change, namespace, case.kind)
    body["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"]
    path = KINDS[case.kind].path(namespace, "full")
    if case.accepted:
        answer = api.request("PUT", path, body)
        assert answer["spec"] == api.create(elsewhere(body), dry_run=True)["spec"]
        return
    with pytest.raises(ApiError, match=re.escape(case.path)) as refusal:
        api.request("PUT", path, body)
    assert case.rule in refusal.value.message
    check_words(request, cluster, record, case.name, told(refusal.value, body))


def elsewhere(body: dict[str, Any]) -> dict[str, Any]:
    """The same object under another name, of which nothing was stored before."""
    metadata = {"name": "other", "namespace": body["metadata"]["namespace"]}
    return body | {"metadata": metadata}


def test_a_whole_number_with_a_point_is_stored_as_a_whole_number(api: Api) -> None:
    """The one thing in which the models are stricter: what they are given was stored before."""
    stored = api.create(placed({"spec.tensorParallelSize": 2.0}, "default"), dry_run=True)
    assert VLLMServer.parse(stored).spec.tensor_parallel_size == 2
