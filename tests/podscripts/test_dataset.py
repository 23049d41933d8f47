"""What a model is calibrated with: staged in the cache under its hash, and a pickle never loaded."""

import argparse
import gzip
import hashlib
import io
import json
import os
import pickle
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest
from huggingface_hub import constants

from tests.podscripts.conftest import PATIENCE_SECONDS, Run, give
from tests.podscripts.hub import Asked, Hub, error
from tests.podscripts.models import SMALL, noise
from tests.podscripts.test_failures import PASSING, TOKEN, check
from vllm_operator.api.prefetch import EXIT_ACT, StagedDataset
from vllm_operator.podscripts import dataset, frames, log
from vllm_operator.podscripts.failures import Failure

Runner = Callable[..., Run]
ROWS = [{"system_prompt": "You help.", "question": f"What is {n}? é"} for n in range(50)]
PICKLED = pickle.dumps(ROWS)
DIGEST = hashlib.sha256(PICKLED).hexdigest()


class Touch:
    """Leaves a trace when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.path}",)


def parquet(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pandas.DataFrame(rows).to_parquet(buffer)
    return buffer.getvalue()


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table(rows: list[dict[str, Any]]) -> bytes:
    return str(pandas.DataFrame(rows).to_csv(index=False)).encode()


@pytest.fixture
def model(hub: Hub) -> str:
    """A model that is there for every quantization."""
    hub.add("org/model", SMALL)
    return "org/model"


def staged(run: Run, place: Path) -> tuple[StagedDataset, bytes]:
    dataset = run.done.dataset
    assert dataset is not None
    content = Path(dataset.path).read_bytes()
    assert dataset.sha256 == hashlib.sha256(content).hexdigest()
    assert (dataset.path, dataset.bytes) == (f"{place}/datasets/{dataset.sha256}.pkl", len(content))
    assert [file.name for file in (place / "datasets").iterdir()] == [f"{dataset.sha256}.pkl"]
    return dataset, content


def questions(content: bytes) -> list[tuple[str, str]]:
    """What calibration reads; these pickles are ours."""
    frame = pickle.loads(content)
    assert list(frame.columns) == ["system_prompt", "question"]
    return [(row["system_prompt"], row["question"]) for _, row in frame.iterrows()]


@pytest.mark.parametrize("name", ["a b", "a$(b)", "ä", "-rf", "a'b"])
@pytest.mark.parametrize(
    "source",
    [
        ("--dataset-file", "/dataset/d.pkl"),
        ("--dataset-name", "org/data"),
        ("--dataset-url", "http://files.invalid/d.pkl", "--dataset-sha256", DIGEST),
    ],
    ids=lambda source: source[0],
)
def test_a_name_that_the_scripts_cannot_use(
    hub: Hub, prefetch: Runner, place: Path, name: str, source: tuple[str, ...]
) -> None:
    """It is not told of first by the pod that has the cards."""
    for model in (f"org/{name}", f"{place}/models/{name}"):
        run = prefetch(place, model, *source)
        check(run, "PrefetchFailed", EXIT_ACT, repr(name), "spec.backend: Command")
    assert not hub.asked


def test_names_are_free_without_the_scripts(prefetch: Runner, place: Path) -> None:
    folder = place / "models/a b"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert prefetch(place, str(folder)).done.commit == ""


def test_no_dataset_no_word_of_it(model: str, prefetch: Runner, place: Path) -> None:
    run = prefetch(place, model)
    assert "dataset" not in run.report
    assert run.done.dataset is None


@pytest.mark.parametrize("zipped", [False, True])
def test_a_mounted_pickle_is_copied_and_not_loaded(
    model: str, prefetch: Runner, place: Path, zipped: bool
) -> None:
    trace = place / "home/trace"
    content = pickle.dumps(Touch(trace))
    file = place / "mounted/any name.pkl"
    file.write_bytes(gzip.compress(content) if zipped else content)
    run = prefetch(place, model, "--dataset-file", str(file))
    assert staged(run, place)[1] == content
    assert not trace.exists()
    assert "dataset" in {step.step for step in run.steps}
    again = prefetch(place, model, "--dataset-file", str(file))
    assert again.done.dataset == run.done.dataset
    assert not trace.exists()


@pytest.mark.parametrize("name", ["d.pkl", "d.pkl.gz", "d.jsonl"])
def test_a_staged_file_is_used_again_where_nobody_may_write(
    prefetch: Runner, volume: Callable[[int], Path], read_only: Callable[[Path], None], place: Path, name: str
) -> None:
    content = {"d.pkl": PICKLED, "d.pkl.gz": gzip.compress(PICKLED), "d.jsonl": lines(ROWS)}[name]
    home, file = volume(4), place / "mounted" / name
    file.write_bytes(content)
    (home / "model").mkdir()
    (home / "model/config.json").write_text("{}")
    arguments = (f"{home}/model", "--dataset-file", str(file))
    first = prefetch(home, *arguments).done.dataset
    read_only(home)
    assert prefetch(home, *arguments).done.dataset == first


def test_what_a_killed_copy_has_left(model: str, prefetch: Runner, place: Path) -> None:
    file = place / "mounted/d.pkl"
    file.write_bytes(PICKLED)
    (place / "datasets").mkdir()
    (place / f"datasets/{DIGEST}.pkl.prefetch.incomplete").write_bytes(PICKLED[:-5] + b"other")
    give(place)
    assert staged(prefetch(place, model, "--dataset-file", str(file)), place)[1] == PICKLED


def test_a_staged_file_that_was_changed_is_staged_anew(model: str, prefetch: Runner, place: Path) -> None:
    file = place / "mounted/d.pkl"
    file.write_bytes(pickle.dumps(ROWS))
    dataset, content = staged(prefetch(place, model, "--dataset-file", str(file)), place)
    Path(dataset.path).write_bytes(content[:-1] + b"x")
    assert staged(prefetch(place, model, "--dataset-file", str(file)), place) == (dataset, content)


INVALID = {
    "a text": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "a page": b"<html>log in</html>.",
    "empty": b"",
    "one byte": b".",
    "cut off": pickle.dumps(ROWS)[:-7],
    "cut off, zipped": gzip.compress(pickle.dumps(ROWS))[:-9],
    "broken zip": b"\x1f\x8b\x08" + bytes(40),
}


@pytest.mark.parametrize("case", INVALID)
def test_what_is_no_pickle(model: str, prefetch: Runner, place: Path, case: str) -> None:
    file = place / "mounted/d.pkl"
    file.write_bytes(INVALID[case])
    check(prefetch(place, model, "--dataset-file", str(file)), "DatasetInvalid", EXIT_ACT)
    assert not list(place.glob("datasets/*"))
    assert not list(place.rglob("snapshots"))  # nobody waits for a model that cannot be calibrated


@pytest.mark.parametrize("path", ["mounted/nothing.pkl", "mounted", "mounted/podscripts/log.py/x"])
def test_a_file_that_is_not_there(model: str, prefetch: Runner, place: Path, path: str) -> None:
    run = prefetch(place, model, "--dataset-file", str(place / path))
    check(run, "DatasetNotFound", EXIT_ACT, str(place / path), "spec.dataset")


def test_a_file_that_nobody_may_read(model: str, prefetch: Runner, place: Path) -> None:
    file = place / "mounted/d.pkl"
    file.write_bytes(b"x")
    file.chmod(0)
    run = prefetch(place, model, "--dataset-file", str(file))
    check(run, "CacheNotReadable", EXIT_ACT, f"may not use {file}")


FORMATS = {
    "d.parquet": parquet(ROWS), "d.jsonl": lines(ROWS), "d.json": json.dumps(ROWS).encode(),
    "d.jsonl.gz": gzip.compress(lines(ROWS)), "lines.json": lines(ROWS), "D.JSONL": lines(ROWS),
    "d.csv": table(ROWS),
}  # fmt: skip


def test_the_same_rows_are_the_same_dataset(model: str, prefetch: Runner, place: Path) -> None:
    """In whatever format they come, and whatever the order of hashes in a process is."""
    found = set()
    for number, (name, content) in enumerate(FORMATS.items()):
        (place / "mounted" / name).write_bytes(content)
        arguments = ("--dataset-file", str(place / "mounted" / name), "--sample-limit", "40")
        run = prefetch(place, model, *arguments, PYTHONHASHSEED=str(number))
        dataset, converted = staged(run, place)
        found.add(dataset.sha256)
    assert len(found) == 1
    assert questions(converted) == [(row["system_prompt"], row["question"]) for row in ROWS[:40]]


def test_texts_that_are_no_questions(model: str, prefetch: Runner, place: Path) -> None:
    file = place / "mounted/d.jsonl"
    rows: list[dict[str, Any]] = [
        {"text": "007", "id": 1},
        {"text": None},
        {"text": " "},
        {"id": 3},
        {"text": "NA"},
        {"text": "2020-01-01"},
    ]
    file.write_bytes(lines(rows))
    _, content = staged(prefetch(place, model, "--dataset-file", str(file)), place)
    assert questions(content) == [("", "007"), ("", "NA"), ("", "2020-01-01")]


def test_digits_are_texts_too(model: str, prefetch: Runner, place: Path) -> None:
    files = {"d.jsonl": lines([{"text": "007"}, {"text": "12"}]), "d.json": b'[{"text": "007"}]'}
    for name, content in files.items():
        (place / "mounted" / name).write_bytes(content)
        run = prefetch(place, model, "--dataset-file", str(place / "mounted" / name))
        assert run.done.dataset
        assert questions(Path(run.done.dataset.path).read_bytes())[0] == ("", "007")


def test_equal_texts_are_one_whether_they_are_one_object_or_two() -> None:
    one, other = "You help.", "".join(["You ", "help."])
    found = set()
    for prompts in ([one, one], [one, other]):
        rows = frames.Rows(9)
        frame = pandas.DataFrame({"system_prompt": prompts, "question": ["a", "b"]}, dtype=object)
        rows._take(frame, "x")
        found.add(rows.pickled())
    assert len(found) == 1


LONG = {
    "question": (("", "a" * 9000), ("", "a" * frames.LONGEST)),
    "prompt": (("p" * 9000, "why?"), ("p" * (frames.LONGEST - 4), "why?")),
    "both": (("p" * 9000, "q" * 9000), ("p" * (frames.LONGEST // 2), "q" * (frames.LONGEST // 2))),
    "question, short prompt": (("Help.", "q" * 9000), ("Help.", "q" * (frames.LONGEST - 5))),
    # Up to two tokens each.
    "other scripts": (("", "語" * 9000), ("", "語" * (frames.LONGEST // 3))),
    "blanks": (("", " " * 9000 + "why?"), ("", "why?")),
    "broken letters": (("", "a" * 9000 + "\ud800"), ("", "a" * frames.LONGEST)),
    "as long as may be": (("p" * 1000, "q" * 2500), ("p" * 1000, "q" * 2500)),
    "blanks that do no harm": (("", " why?\n"), ("", " why?\n")),
}


@pytest.mark.parametrize("case", LONG)
def test_a_long_row_is_cut(model: str, prefetch: Runner, place: Path, case: str) -> None:
    """The scripts' engine takes 2048 tokens, and ends with the first row that has more."""
    (prompt, question), kept = LONG[case]
    file = place / "mounted/d.jsonl"
    file.write_bytes(lines([{"system_prompt": prompt, "question": question}, ROWS[0]]))
    _, content = staged(prefetch(place, model, "--dataset-file", str(file)), place)
    assert questions(content) == [kept, (ROWS[0]["system_prompt"], ROWS[0]["question"])]


def test_a_table_says_what_it_says(model: str, prefetch: Runner, place: Path) -> None:
    file = place / "mounted/d.csv"
    file.write_bytes(b'question,answer\n007,1\nNA,2\n"a\nb",3\n,4\n')
    _, content = staged(prefetch(place, model, "--dataset-file", str(file)), place)
    assert questions(content) == [("", "007"), ("", "NA"), ("", "a\nb")]


ROWS_THAT_DO_NOT = {
    "d.parquet": (parquet([{"prompt": "x", "answer": "y"}]), ("prompt, answer", "question", "text")),
    "d.csv": (b"prompt,answer\n1,2\n", ("prompt, answer",)),
    "d.jsonl": (b'{"question": ["a"]}\n', ("holds list where text is needed",)),
    "e.jsonl": (b'{"question": "a", "system_prompt": {"b": 1}}\n', ("holds dict",)),
    "n.json": (b'[{"text": 1}]', ("holds int",)),
    "e.json": (b"[]", ()),
    "broken.jsonl": (b'{"question": "a"}\n{"ques', ("cannot be read as jsonl",)),
    "broken.json": (b'["', ("cannot be read as json",)),
    "broken.parquet": (b"PAR1xxxx", ("cannot be read as parquet",)),
    "broken.csv": (b'question\n"a\n', ("cannot be read as csv",)),
    "latin.csv": (b"question\n\xe9\n", ("cannot be read as csv",)),
    "empty.csv": (b"", ("cannot be read as csv",)),
    "no-rows.csv": (b"question\n", ("no row with a text",)),
    "blank.jsonl": (b'{"question": " "}\n', ("no row with a text",)),
    "empty.jsonl": (b"", ()),
}


@pytest.mark.parametrize("name", ROWS_THAT_DO_NOT)
def test_rows_that_do_not(model: str, prefetch: Runner, place: Path, name: str) -> None:
    content, words = ROWS_THAT_DO_NOT[name]
    (place / "mounted" / name).write_bytes(content)
    run = prefetch(place, model, "--dataset-file", str(place / "mounted" / name))
    check(run, "DatasetInvalid", EXIT_ACT, *words)


def test_an_image_without_pandas(model: str, prefetch: Runner, place: Path) -> None:
    (place / "mounted/pandas.py").write_text("raise ImportError('no pandas here')")
    (place / "mounted/d.csv").write_bytes(FORMATS["d.csv"])
    run = prefetch(place, model, "--dataset-file", str(place / "mounted/d.csv"))
    check(run, "CalibrationToolMissing", EXIT_ACT, "no pandas here", ".pkl")


def from_web(hub: Hub, *more: str, path: str = "/web/d.pkl", sha256: str = DIGEST) -> tuple[str, ...]:
    return ("--dataset-url", f"{hub.url}{path}", "--dataset-sha256", sha256, *more)


def test_a_file_of_a_web_server(model: str, hub: Hub, prefetch: Runner, place: Path) -> None:
    hub.web["/web/d.pkl"] = PICKLED
    hub.granted.add(TOKEN)
    arguments = from_web(hub, sha256=DIGEST.upper(), path="/web/d.pkl?signature=geheim")
    run = prefetch(place, model, *arguments, HF_TOKEN=TOKEN)
    assert staged(run, place)[1] == PICKLED
    (asked,) = [asked for asked in hub.asked if asked.path.startswith("/web/")]
    assert "Authorization" not in asked.headers
    assert any("Authorization" in asked.headers for asked in hub.asked)
    hub.asked.clear()
    assert prefetch(place, model, *arguments).done.dataset == run.done.dataset
    assert not [asked for asked in hub.asked if "/web/" in asked.path]
    assert not list((place / ".prefetch").rglob("downloads/*"))


def test_a_web_server_that_sends_elsewhere(model: str, hub: Hub, prefetch: Runner, place: Path) -> None:
    hub.web["/web/there.pkl"] = PICKLED
    hub.granted.add(TOKEN)
    hub.moved["/web/d.pkl"] = f"http://localhost:{hub.port}/web/there.pkl"
    run = prefetch(place, model, *from_web(hub), HF_TOKEN=TOKEN)
    assert staged(run, place)[1] == PICKLED
    assert not [asked for asked in hub.asked if "/web/" in asked.path and "Authorization" in asked.headers]


def test_a_proxy_is_asked_for_a_file(model: str, hub: Hub, prefetch: Runner, place: Path) -> None:
    hub.web["/web/d.pkl"] = PICKLED
    arguments = ("--dataset-url", "http://files.invalid/web/d.pkl", "--dataset-sha256", DIGEST)
    run = prefetch(place, model, *arguments, http_proxy=hub.url, no_proxy="127.0.0.1,localhost")
    assert staged(run, place)[1] == PICKLED
    assert "http://files.invalid/web/d.pkl" in [asked.path for asked in hub.asked]


def test_a_file_of_a_web_server_is_converted(model: str, hub: Hub, prefetch: Runner, place: Path) -> None:
    hub.web["/web/d.jsonl.gz"] = FORMATS["d.jsonl.gz"]
    digest = hashlib.sha256(FORMATS["d.jsonl.gz"]).hexdigest()
    arguments = from_web(hub, path="/web/d.jsonl.gz", sha256=digest)
    run = prefetch(place, model, *arguments)
    assert len(questions(staged(run, place)[1])) == 50
    del hub.web["/web/d.jsonl.gz"]
    assert prefetch(place, model, *arguments).done.dataset == run.done.dataset
    other = prefetch(place, model, *arguments, "--sample-limit", "3")
    assert other.failure.reason == "DatasetNotFound"  # another limit is another dataset


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on(model: str, hub: Hub, prefetch: Runner, place: Path, ranges: bool) -> None:
    content = b"\x80\x04" + noise(1_000_000) + b"."
    hub.web["/web/d.pkl"], hub.ignores_range = content, not ranges
    breaks = iter(range(3))

    def during(asked: Asked, sent: int) -> None:
        if "/web/" in asked.path and sent >= 3 * 65536 and next(breaks, None) is not None:
            raise ConnectionError

    hub.during = during
    arguments = from_web(hub, sha256=hashlib.sha256(content).hexdigest())
    run = prefetch(place, model, *arguments)
    assert staged(run, place)[1] == content
    sent = sum(asked.sent for asked in hub.asked if "/web/" in asked.path)
    assert (sent <= len(content) + 3 * 65536) == ranges
    assert run.err.count("Trying again.") == 3


def test_killed_in_mid_download(model: str, hub: Hub, start: Runner, prefetch: Runner, place: Path) -> None:
    content = b"\x80\x04" + noise(1_000_000) + b"."
    hub.web["/web/d.pkl"] = content
    digest = hashlib.sha256(content).hexdigest()
    stop, tick = threading.Event(), threading.Event()

    def during(asked: Asked, sent: int) -> None:
        if "/web/" in asked.path and sent >= 500_000:
            stop.wait(PATIENCE_SECONDS)

    hub.during = during
    run = start(place, model, *from_web(hub, sha256=digest))
    partial = place / f".prefetch/datasets/downloads/{digest}.prefetch.incomplete"
    while not (partial.exists() and partial.stat().st_size >= 300_000):
        tick.wait(0.02)
        assert run.process.poll() is None
    assert run.kill(signal.SIGTERM).code == 143
    stop.set()
    have = partial.stat().st_size
    hub.during, hub.asked = (lambda asked, sent: None), []
    assert staged(prefetch(place, model, *from_web(hub, sha256=digest)), place)[1] == content
    assert [asked.headers.get("Range") for asked in hub.asked if "/web/" in asked.path] == [f"bytes={have}-"]


@pytest.mark.parametrize("left", [PICKLED[:100], PICKLED, PICKLED + b"more", b"other", noise(99_999)])
def test_what_an_earlier_try_has_left(
    model: str, hub: Hub, prefetch: Runner, place: Path, left: bytes
) -> None:
    hub.web["/web/d.pkl"] = PICKLED
    folder = place / ".prefetch/datasets/downloads"
    folder.mkdir(parents=True)
    (folder / f"{DIGEST}.prefetch.incomplete").write_bytes(left)
    give(place)
    assert staged(prefetch(place, model, *from_web(hub)), place)[1] == PICKLED
    asked = [asked for asked in hub.asked if "/web/" in asked.path]
    assert len(asked) == {PICKLED: 0, PICKLED[:100]: 1}.get(left, 2)


def test_another_content_than_announced(model: str, hub: Hub, prefetch: Runner, place: Path) -> None:
    hub.web["/web/d.pkl"] = PICKLED + b"."
    run = prefetch(place, model, *from_web(hub))
    got = hashlib.sha256(PICKLED + b".").hexdigest()
    check(run, "DatasetInvalid", EXIT_ACT, f"127.0.0.1:{hub.port}", got, DIGEST, "sha256 in spec.dataset.url")
    assert len([asked for asked in hub.asked if "/web/" in asked.path]) == 1
    assert not list(place.glob("datasets/*"))
    assert not [asked for asked in hub.asked if "/api/" in asked.path]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_web_server_that_refuses(model: str, hub: Hub, prefetch: Runner, place: Path, status: int) -> None:
    hub.web["/web/d.pkl"] = PICKLED
    hub.troubles.append(("/web/", error(status)))
    run = prefetch(place, model, *from_web(hub), HF_TOKEN=TOKEN)
    check(
        run, "DatasetNotFound", EXIT_ACT, f"The server of the file answered {status}", "spec.dataset.url.url"
    )


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_web_server_in_trouble(model: str, hub: Hub, prefetch: Runner, place: Path, status: int) -> None:
    hub.web["/web/d.pkl"] = PICKLED
    hub.troubles += [("/web/", error(status))] * 5
    check(prefetch(place, model, *from_web(hub)), "HubUnreachable", PASSING, str(status))
    assert staged(prefetch(place, model, *from_web(hub)), place)[1] == PICKLED


def test_a_web_server_that_is_not_there(model: str, hub: Hub, prefetch: Runner, place: Path) -> None:
    url = "http://me:geheim@127.0.0.1:9/d.pkl?signature=topsecret"
    run = prefetch(place, model, "--dataset-url", url, "--dataset-sha256", DIGEST)
    check(run, "HubUnreachable", PASSING, "http://127.0.0.1:9 cannot be reached")
    assert not re.search("geheim|topsecret", run.report_text + run.err + run.out)


SIGNED = "http://127.0.0.1:9/d.pkl?signature=topsecret"


def test_a_signature_is_told_to_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever a client library puts into its words."""
    monkeypatch.setattr(log, "secrets", set())
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    options = argparse.Namespace(dataset_url=SIGNED, dataset_sha256=DIGEST, sample_limit=1, pause=0)
    with pytest.raises(Failure):
        dataset._stage_url(dataset.Staging(str(tmp_path)), options, log.Progress(9))
    assert log.masked(f"cannot connect to {SIGNED}") == "cannot connect to http://127.0.0.1:9/d.pkl?***"


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://x/y", "//x/y", "d.pkl", "http:///x", "http://[x/y", "http://x:y/z"]
)
def test_other_addresses(model: str, prefetch: Runner, place: Path, url: str) -> None:
    run = prefetch(place, model, "--dataset-url", url, "--dataset-sha256", DIGEST)
    check(run, "DatasetNotFound", EXIT_ACT, "http://", "spec.dataset.url.url")


def test_a_hash_that_is_none(model: str, hub: Hub, prefetch: Runner, place: Path) -> None:
    run = prefetch(place, model, *from_web(hub, sha256="../../etc/passwd"))
    check(run, "DatasetInvalid", EXIT_ACT, "64 hexadecimal digits")


def test_a_volume_that_is_too_small(
    model: str, hub: Hub, prefetch: Runner, volume: Callable[[int], Path]
) -> None:
    hub.web["/web/d.pkl"] = b"\x80\x04" + noise(3_000_000) + b"."
    digest = hashlib.sha256(hub.web["/web/d.pkl"]).hexdigest()
    run = prefetch(volume(1), model, *from_web(hub, sha256=digest))
    check(run, "CacheFull", EXIT_ACT, "No space left on device")
