"""What a prefetch Job tells, as the operator reads it."""

import json

import pytest

from vllm_operator.api.prefetch import (
    FAILURES,
    Prefetched,
    PrefetchFailure,
    PrefetchStep,
    StagedDataset,
    read_report,
    read_step,
)

DONE = {
    "commit": "0" * 40,
    "files": 9,
    "bytes": 1200,
    "downloaded": 200,
    "adopted": {"files": 2, "bytes": 1000, "from": ["/data/models--org--model"]},
    "cache": "/data/hub",
}


def test_a_success() -> None:
    assert read_report(json.dumps(DONE)) == Prefetched("0" * 40, 9, 1200, 200, 2, "/data/hub")


def test_a_success_with_a_dataset_and_a_folder_as_model() -> None:
    dataset = {"path": "/data/datasets/0a.pkl", "sha256": "0a", "bytes": 7}
    read = read_report(json.dumps(DONE | {"dataset": dataset, "commit": ""}))
    assert isinstance(read, Prefetched)
    assert (read.dataset, read.commit) == (StagedDataset("/data/datasets/0a.pkl", "0a", 7), "")


@pytest.mark.parametrize("word", FAILURES)
def test_failures(word: str) -> None:
    text = json.dumps({"reason": word, "message": "Do this."})
    assert read_report(text) == PrefetchFailure(FAILURES[word], "Do this.")


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "Killed",
            "[]",
            "null",
            "3",
            "{}",
            '{"reason": "GatedModel"}',
            '{"reason": "Other", "message": "x"}',
        ),
        json.dumps(DONE)[:-20],
        json.dumps(DONE | {"adopted": 2}),
        json.dumps(DONE | {"bytes": None}),
        json.dumps(DONE | {"dataset": {"path": "/data/x.pkl", "sha256": "0a"}}),
        json.dumps(DONE | {"dataset": "/data/x.pkl"}),
    ],
)
def test_what_is_no_report(text: str) -> None:
    assert read_report(text) is None


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("prefetch: resolve", PrefetchStep("resolve")),
        ("prefetch: download 12345678/140000000000\n", PrefetchStep("download", 12345678, 140000000000)),
        ("prefetch: verify 0/5", PrefetchStep("verify", 0, 5)),
        ("prefetch: dataset 0/2", PrefetchStep("dataset", 0, 2)),
        ("prefetch: done", PrefetchStep("done")),
        ("prefetch: dance", None),
        ("prefetch: download 1/", None),
        ("note: prefetch: resolve", None),
        ("", None),
    ],
)
def test_steps(line: str, step: PrefetchStep | None) -> None:
    assert read_step(line) == step
