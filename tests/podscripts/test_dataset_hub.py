"""Datasets of the hub, read as data and never by their code, and the data of lm-eval's tasks."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.podscripts.conftest import Run, give
from tests.podscripts.hub import Hub, error
from tests.podscripts.models import SMALL
from tests.podscripts.test_dataset import ROWS, lines, parquet, questions, staged, table
from tests.podscripts.test_failures import PASSING, TOKEN, check
from vllm_operator.api.prefetch import EXIT_ACT
from vllm_operator.podscripts.failures import Failure
from vllm_operator.podscripts.splits import chosen

Runner = Callable[..., Run]
MODEL = "org/model"
NAME = ("--dataset-name", "org/data")
CODE = {
    "data.py": b"import os; os.system('touch /tmp/never')",
    "README.md": b"---\nconfigs: []\n---",
    ".gitattributes": b"",
}
SHARDS = {
    f"data/{split}-{n:05}-of-00003-0abc.parquet": parquet([{"text": f"{split} {n} {i}"} for i in range(10)])
    for split in ("train", "test")
    for n in range(3)
}


@pytest.fixture(autouse=True)
def _model(hub: Hub) -> None:
    hub.add(MODEL, SMALL)


def texts(run: Run, place: Path) -> list[str]:
    return [question for _, question in questions(staged(run, place)[1])]


def asked(hub: Hub) -> list[str]:
    return [each.path for each in hub.asked if "data" in each.path and "models" not in each.path]


def test_rows_of_a_split_in_the_order_of_its_files(hub: Hub, prefetch: Runner, place: Path) -> None:
    hub.add("datasets/org/data", SHARDS | CODE)
    run = prefetch(place, MODEL, *NAME, "--dataset-split", "test")
    assert texts(run, place) == [f"test {n} {i}" for n in range(3) for i in range(10)]
    assert {step.step for step in run.steps} == {"resolve", "dataset", "verify", "download", "done"}
    assert not [path for path in asked(hub) if path.endswith((".py", ".md"))]


def test_only_what_is_needed_is_fetched(hub: Hub, prefetch: Runner, place: Path) -> None:
    hub.add("datasets/org/data", SHARDS | CODE)
    run = prefetch(place, MODEL, *NAME, "--sample-limit", "15")
    assert texts(run, place) == [f"train 0 {i}" for i in range(10)] + [f"train 1 {i}" for i in range(5)]
    assert len([path for path in asked(hub) if "/cdn/" in path]) == 2


def test_a_first_runs_commit_counts_for_all_later_ones(hub: Hub, prefetch: Runner, place: Path) -> None:
    commit = hub.add("datasets/org/data", SHARDS)
    first = prefetch(place, MODEL, *NAME)
    repo = hub.repos["datasets/org/data"]
    repo.commits["1" * 40] = {"train.jsonl": lines([{"text": "moved on"}])}
    repo.refs["main"] = "1" * 40
    hub.asked.clear()
    assert prefetch(place, MODEL, *NAME).done.dataset == first.done.dataset
    assert not asked(hub)
    # Also when what was staged is gone, or the files that it was made of.
    dataset = first.done.dataset
    assert dataset
    Path(dataset.path).unlink()
    assert prefetch(place, MODEL, *NAME).done.dataset == dataset
    assert not asked(hub)
    Path(dataset.path).unlink()
    for file in (place / "hub/datasets--org--data/blobs").iterdir():
        file.unlink()
    assert prefetch(place, MODEL, *NAME).done.dataset == dataset
    assert asked(hub)
    assert all("main" not in path and commit in path for path in asked(hub))


def test_killed_after_it_was_resolved(hub: Hub, start: Runner, prefetch: Runner, place: Path) -> None:
    hub.add("datasets/org/data", SHARDS)
    run = start(place, MODEL, *NAME)
    hub.before = lambda each: run.process.kill() if "/resolve/" in each.path else None
    run.wait()
    hub.before = lambda each: None
    repo = hub.repos["datasets/org/data"]
    repo.commits["1" * 40] = {"train.jsonl": lines([{"text": "moved on"}])}
    repo.refs["main"] = "1" * 40
    assert len(texts(prefetch(place, MODEL, *NAME), place)) == 30


def test_a_gated_dataset(hub: Hub, prefetch: Runner, place: Path) -> None:
    hub.add("datasets/org/data", SHARDS, gated=True)
    check(prefetch(place, MODEL, *NAME), "GatedModel", EXIT_ACT, "Ask for access on the dataset's page")
    hub.valid.add(TOKEN)
    check(prefetch(place, MODEL, *NAME, HF_TOKEN=TOKEN), "GatedModel", EXIT_ACT, "authorized list")
    hub.granted.add(TOKEN)
    assert len(texts(prefetch(place, MODEL, *NAME, HF_TOKEN=TOKEN), place)) == 30


def test_a_private_dataset_or_none(hub: Hub, prefetch: Runner, place: Path) -> None:
    words = ("no such dataset", "private", "spec.dataset.huggingFace.name")
    check(prefetch(place, MODEL, *NAME), "DatasetNotFound", EXIT_ACT, *words)
    hub.add("datasets/org/data", SHARDS, private=True)
    hub.valid.add(TOKEN)
    check(prefetch(place, MODEL, *NAME, HF_TOKEN=TOKEN), "DatasetNotFound", EXIT_ACT, *words)
    check(prefetch(place, MODEL, *NAME, HF_TOKEN="hf_Wrong"), "InvalidToken", EXIT_ACT, "this dataset")


def test_a_hub_in_trouble(hub: Hub, prefetch: Runner, place: Path) -> None:
    hub.add("datasets/org/data", SHARDS)
    hub.troubles += [("/api/datasets", error(503))] * 5
    check(prefetch(place, MODEL, *NAME), "HubUnreachable", PASSING, "503")
    hub.troubles += [("/cdn/datasets", error(503))] * 4
    assert len(texts(prefetch(place, MODEL, *NAME), place)) == 30


def test_a_dataset_without_columns_that_we_know(hub: Hub, prefetch: Runner, place: Path) -> None:
    hub.add("datasets/org/data", {"train.jsonl": lines([{"prompt": "x", "chosen": "y"}])})
    check(prefetch(place, MODEL, *NAME), "DatasetInvalid", EXIT_ACT, "train.jsonl", "prompt, chosen")


def test_a_dataset_of_code_only(hub: Hub, prefetch: Runner, place: Path) -> None:
    hub.add("datasets/org/data", CODE)
    check(prefetch(place, MODEL, *NAME), "DatasetInvalid", EXIT_ACT, "no file of the formats parquet")
    assert not Path("/tmp/never").exists()


def test_a_split_that_is_not_there(hub: Hub, prefetch: Runner, place: Path) -> None:
    hub.add("datasets/org/data", SHARDS)
    run = prefetch(place, MODEL, *NAME, "--dataset-split", "train_sft")
    check(run, "DatasetNotFound", EXIT_ACT, "no split train_sft, but test, train", "huggingFace.split")


SPLITS: dict[str, tuple[list[str], str, list[str]]] = {
    "one file": (["data.jsonl"], "train", ["data.jsonl"]),
    "one file, another split": (["data.jsonl"], "test", []),
    "by name": (["train.csv", "test.csv"], "test", ["test.csv"]),
    "by a word in a name": (
        ["my-train-1.csv", "my-train-0.csv", "my-dev.csv"],
        "train",
        ["my-train-0.csv", "my-train-1.csv"],
    ),
    "by another word": (["my-train-1.csv", "dev.csv"], "validation", ["dev.csv"]),
    "by part of a word": (["training.csv", "trained.csv"], "train", ["training.csv"]),
    "by folder": (["test/0.csv", "train/1.csv", "train/0.csv"], "train", ["train/0.csv", "train/1.csv"]),
    "the name before the folder": (["train/test.csv", "train/train.csv"], "train", ["train/train.csv"]),
    "shards of exactly that name": (
        ["data/train_sft-00000-of-00001.parquet", "data/train-00000-of-00001.parquet"],
        "train",
        ["data/train-00000-of-00001.parquet"],
    ),
    "shards of another name": (["data/train_sft-00000-of-00001.parquet"], "train", []),
    "the best format": (["train.csv", "train.jsonl", "train.parquet"], "train", ["train.parquet"]),
    "what is about it": (["dataset_infos.json", "train.json"], "train", ["train.json"]),
    "one that tells of the other": (["test.csv"], "train", []),
    "a hidden one": ([".train.csv"], "train", []),
    "one configuration in folders": (
        ["x/train/0.csv", "x/train/1/0.csv"],
        "train",
        ["x/train/0.csv", "x/train/1/0.csv"],
    ),
}


@pytest.mark.parametrize("case", SPLITS)
def test_splits(case: str) -> None:
    names, split, wanted = SPLITS[case]
    if wanted:
        assert chosen(names, "org/data", split) == wanted
    else:
        with pytest.raises(Failure) as failure:
            chosen(names, "org/data", split)
        assert failure.value.reason in ("DatasetNotFound", "DatasetInvalid")


def test_several_configurations_are_nobodys_choice() -> None:
    names = [f"{part}/train-00000-of-00001.parquet" for part in ("main", "socratic")]
    with pytest.raises(Failure) as failure:
        chosen(names, "openai/gsm8k", "train")
    assert failure.value.reason == "DatasetInvalid"
    assert "main, socratic" in failure.value.message


def test_formats_of_a_hub(hub: Hub, prefetch: Runner, place: Path) -> None:
    for number, (name, content) in enumerate({"train.csv": table(ROWS), "train.json": lines(ROWS)}.items()):
        hub.add(f"datasets/org/data{number}", {name: content})
        run = prefetch(place, MODEL, "--dataset-name", f"org/data{number}")
        assert len(texts(run, place)) == 50


LM_EVAL = """
import json, os
print("loading lm_eval, which likes to talk")
class TaskManager:
    all_tasks = ["gsm8k", "pile_10k", "gated", "gone", "down"]
class DatasetNotFoundError(FileNotFoundError): ...
def get_task_dict(names, manager):
    assert isinstance(manager, TaskManager)
    print("downloading", names)
    if names == ["gated"]: raise DatasetNotFoundError("Dataset 'org/x' is a gated dataset on the Hub")
    if names == ["gone"]: raise DatasetNotFoundError("Dataset 'org/x' doesn't exist on the Hub")
    if names == ["down"]: raise ConnectionError("Couldn't reach the hub")
    with open(os.path.join(os.environ["HF_HOME"], "tasks"), "a") as out:
        out.write(json.dumps([names, os.environ.get("HF_TOKEN")]) + "\\n")
"""


@pytest.fixture
def lm_eval(prefetch: Runner, place: Path) -> Path:
    """lm-eval of the image; the pod's working folder comes first among the places of modules."""
    folder = place / "mounted/lm_eval/tasks"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("")
    (folder / "__init__.py").write_text(LM_EVAL)
    give(place)
    return folder


def test_tasks_have_their_data_brought(hub: Hub, prefetch: Runner, place: Path, lm_eval: Path) -> None:
    hub.granted.add(TOKEN)
    run = prefetch(place, MODEL, "--task", "gsm8k", "--task", "pile_10k", HF_TOKEN=TOKEN)
    assert run.done.dataset is None
    told = [json.loads(line) for line in (place / "tasks").read_text().splitlines()]
    assert told == [[["gsm8k"], TOKEN], [["pile_10k"], TOKEN]]
    assert [step.total for step in run.steps if step.step == "dataset"] == [2]
    assert "downloading" in run.err


def test_an_image_without_lm_eval(prefetch: Runner, place: Path) -> None:
    run = prefetch(place, MODEL, "--task", "gsm8k")
    check(run, "CalibrationToolMissing", EXIT_ACT, "no lm-eval", "lm_eval", "vllm-gaudi-calibrate")
    assert not list(place.rglob("snapshots"))


TASKS = {
    "gms8k": ("DatasetNotFound", EXIT_ACT, ("no task gms8k", "spec.tasks")),
    "gone": ("DatasetNotFound", EXIT_ACT, ("doesn't exist on the Hub", "spec.tasks")),
    "gated": ("GatedModel", EXIT_ACT, ("gated dataset", "spec.model.tokenSecretRef")),
    "down": ("HubUnreachable", PASSING, ("Couldn't reach the hub",)),
}


@pytest.mark.parametrize("task", TASKS)
def test_tasks_whose_data_does_not_come(prefetch: Runner, place: Path, lm_eval: Path, task: str) -> None:
    assert lm_eval.exists()
    reason, code, words = TASKS[task]
    check(prefetch(place, MODEL, "--task", task), reason, code, *words)
