"""The API server refuses every spelling of a flag that the operator owns, and no other word."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cases.container import FREE_ARGUMENTS, OWNED_ARGUMENTS
from tests.cases.spellings import every
from tests.cluster import support
from tests.harness.api import Api, ApiError
from vllm_operator.api.owned import is_owned_flag

MOST = 64
"""Words in one `extraArgs`, and so in one question."""


def refused(api: Api, words: list[str]) -> list[str]:
    """Those of at most MOST words that the API server refuses."""
    try:
        api.create(support.server("default", extraArgs=words), dry_run=True)
    except ApiError as error:
        causes = error.details["causes"]
        fields = [re.fullmatch(r"spec\.extraArgs\[(\d+)]", cause["field"]) for cause in causes]
        assert all("the operator sets this flag itself" in cause["message"] for cause in causes), causes
        return [words[int(field[1])] for field in fields if field]
    return []


def test_the_api_server_refuses_exactly_the_owned_spellings(api: Api) -> None:
    words = [*every(), *FREE_ARGUMENTS, *OWNED_ARGUMENTS]
    owned = {word for word in words if is_owned_flag(word)}
    assert len(owned) > 2500
    assert len(words) > 40000
    batches = [words[start : start + MOST] for start in range(0, len(words), MOST)]
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda batch: refused(api, batch), batches)
        assert {word for answer in answers for word in answer} == owned


@pytest.mark.parametrize("position", [0, MOST - 1])
def test_each_refused_word_is_named_by_its_place(api: Api, position: int) -> None:
    words = ["free"] * MOST
    words[position] = "--model"
    assert refused(api, words) == ["--model"]
    assert refused(api, ["--model"] * MOST) == ["--model"] * MOST
