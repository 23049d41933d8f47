"""From a name to a verified snapshot, whatever happens on the way."""

import argparse
import contextlib
import itertools
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.podscripts.conftest import PATIENCE_SECONDS, Run, give
from tests.podscripts.hub import Asked, Hub, error, etag
from tests.podscripts.models import NEEDLESS, SHARDED, SMALL, noise, size
from vllm_operator.podscripts.files import File
from vllm_operator.podscripts.log import Progress
from vllm_operator.podscripts.repository import Repository

Runner = Callable[..., Run]
OFFLINE = """
from huggingface_hub import snapshot_download
print(snapshot_download({model!r}, revision={revision!r}, local_files_only=True, allow_patterns={patterns!r}))
"""


def snapshot(home: Path, model: str, commit: str) -> Path:
    return home / "hub" / f"models--{model.replace('/', '--')}" / "snapshots" / commit


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_model_is_brought(hub: Hub, prefetch: Runner, place: Path, as_user: Callable[..., str]) -> None:
    commit = hub.add("org/model", SHARDED | NEEDLESS)
    run = prefetch(place, "org/model")
    done = run.done
    assert (done.commit, done.files, done.bytes) == (commit, len(SHARDED), size(SHARDED))
    assert (done.downloaded, done.adopted, done.cache) == (size(SHARDED), 0, str(place / "hub"))
    assert hub.sent == size(SHARDED)
    assert content(snapshot(place, "org/model", commit)) == SHARDED
    # Commit and branch are both found by whoever reads the cache offline, as the server does.
    for revision in (commit, "main"):
        code = OFFLINE.format(model="org/model", revision=revision, patterns=None)
        found = as_user(code, HF_HOME=str(place), HF_HUB_OFFLINE="1")
        assert found == str(snapshot(place, "org/model", commit))


def test_the_layout_is_that_of_huggingface_hub(
    hub: Hub, prefetch: Runner, place: Path, as_user: Callable[..., str]
) -> None:
    commit = hub.add("org/model", SHARDED)
    prefetch(place, "org/model")
    theirs = place / "theirs"
    theirs.mkdir()
    give(theirs)
    as_user("import huggingface_hub as h; h.snapshot_download('org/model')", HF_HOME=str(theirs))

    def tree(folder: Path) -> dict[str, str]:
        files = (file for file in folder.rglob("*") if not file.is_dir() and "trees" not in file.parts)
        return {
            str(file.relative_to(folder)): os.readlink(file) if file.is_symlink() else "" for file in files
        }

    name = "hub/models--org--model"
    assert tree(place / name) == tree(theirs / name)
    assert len(tree(place / name)) == 2 * len(SHARDED) + 1, commit


def test_progress_is_told_in_lines_that_a_program_reads(hub: Hub, prefetch: Runner, place: Path) -> None:
    hub.add("org/model", SHARDED)
    run = prefetch(place, "org/model")
    assert [step.step for step in run.steps] == ["resolve", "verify", "download", "verify", "done"]
    assert run.steps[2].total == size(SHARDED)
    assert run.err == ""


def test_a_slow_link_is_told_of_now_and_then(hub: Hub, start: Runner, place: Path) -> None:
    hub.add("org/model", {"config.json": b"{}", "model.safetensors": noise(2_000_000)})
    seen = threading.Event()
    hub.during = lambda asked, sent: (seen.wait(0.1), None)[1]
    run = start(place, "org/model", "--every", "0.5").wait()
    told = [step for step in run.steps if step.step == "download"]
    assert len(told) >= 3
    assert all(a.done < b.done <= b.total for a, b in itertools.pairwise(told))
    # One for each interval that went by, and one for each of the five steps.
    assert len(run.steps) <= run.seconds / 0.5 + 5


@pytest.mark.parametrize("revision", ["v1", "refs/pr/7", "0" * 40])
def test_a_revision_is_resolved(hub: Hub, prefetch: Runner, place: Path, revision: str) -> None:
    hub.add("org/model", {"config.json": b"other", "model.safetensors": b"other"})
    repo = hub.repos["org/model"]
    repo.commits["0" * 40] = SMALL
    repo.refs |= {"v1": "0" * 40, "refs/pr/7": "0" * 40}
    assert prefetch(place, "org/model", "--revision", revision).done.commit == "0" * 40
    assert content(snapshot(place, "org/model", "0" * 40)) == SMALL
    assert not (place / "hub/models--org--model/refs/main").exists()


def test_a_commit_that_is_there_needs_no_network(hub: Hub, prefetch: Runner, place: Path) -> None:
    commit = hub.add("org/model", SHARDED | NEEDLESS)
    prefetch(place, "org/model")
    hub.asked.clear()
    again = prefetch(place, "org/model", "--revision", commit).done
    assert (again.commit, again.files, again.downloaded) == (commit, len(SHARDED), 0)
    assert hub.asked == []
    # A branch may have moved: that is the one thing to ask.
    assert prefetch(place, "org/model").done.downloaded == 0
    assert len(hub.asked) == 1


def test_what_two_commits_share_is_fetched_once(hub: Hub, prefetch: Runner, place: Path) -> None:
    hub.add("org/model", SHARDED)
    prefetch(place, "org/model")
    changed = SHARDED | {"config.json": b"{}", "model-2.safetensors": noise(100_000, 99)}
    hub.repos["org/model"].commits["1" * 40] = changed
    hub.repos["org/model"].refs["main"] = "1" * 40
    done = prefetch(place, "org/model").done
    assert (done.commit, done.downloaded) == ("1" * 40, 100_002)
    assert content(snapshot(place, "org/model", "1" * 40)) == changed


def test_files_of_equal_content_are_fetched_once(hub: Hub, prefetch: Runner, place: Path) -> None:
    twins = SMALL | {
        "a/__init__.py": b"",
        "b/__init__.py": b"",
        "copy.safetensors": SMALL["model.safetensors"],
    }
    commit = hub.add("org/model", twins)
    run = prefetch(place, "org/model")
    assert run.done.downloaded == size(SMALL)
    assert run.done.bytes == size(twins)
    assert content(snapshot(place, "org/model", commit)) == twins


def test_the_token_goes_to_the_hub_and_nowhere_else(hub: Hub, prefetch: Runner, place: Path) -> None:
    hub.add("org/model", SMALL, private=True, gated=True)
    hub.granted.add("hf_right")
    prefetch(place, "org/model", HF_TOKEN="hf_right").done  # noqa: B018
    cdn = [asked for asked in hub.asked if asked.path.startswith("/cdn/")]
    assert len(cdn) == 1
    assert all(("Authorization" in asked.headers) == (asked not in cdn) for asked in hub.asked)


def test_a_broken_connection_goes_on_where_it_broke(hub: Hub, prefetch: Runner, place: Path) -> None:
    files = {"config.json": b"{}", "model.safetensors": noise(1_000_000)}
    commit = hub.add("org/model", files)
    breaks = iter(range(8))  # more often than a request that brings nothing is tried

    def during(asked: Asked, sent: int) -> None:
        if sent >= 65536 and next(breaks, None) is not None:
            raise ConnectionError

    hub.during = during
    run = prefetch(place, "org/model")
    assert run.done.bytes == size(files)
    assert content(snapshot(place, "org/model", commit)) == files
    assert len(hub.files()) == 10
    assert hub.sent <= size(files) + 8 * 65536
    assert run.err.count("Trying again.") == 8


def test_a_hub_that_ignores_ranges_is_taken_as_it_is(hub: Hub, prefetch: Runner, place: Path) -> None:
    commit = hub.add("org/model", SMALL)
    hub.ignores_range = True
    breaks = iter([True])

    def during(asked: Asked, sent: int) -> None:
        if sent >= 65536 and next(breaks, False):
            raise ConnectionError

    hub.during = during
    run = prefetch(place, "org/model")
    assert run.done.bytes == size(SMALL)
    assert content(snapshot(place, "org/model", commit)) == SMALL
    assert all(step.done <= step.total for step in run.steps)
    assert [asked.path.startswith("/cdn/") for asked in hub.files()].count(True) == 2
    assert "another content" not in run.err


def test_another_content_than_announced_is_fetched_again(hub: Hub, prefetch: Runner, place: Path) -> None:
    commit = hub.add("org/model", SMALL)
    hub.forged = {"model.safetensors": [noise(300_000, 77)], "config.json": [b'{"model_type": "LLAMA"}']}
    run = prefetch(place, "org/model")
    assert run.code == 0
    assert content(snapshot(place, "org/model", commit)) == SMALL
    assert run.err.count("another content") == 2


@pytest.mark.parametrize("where", ["/api/", "/resolve/.*/config", "/cdn/"])
@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_passing_errors_of_the_hub_pass(
    hub: Hub, prefetch: Runner, place: Path, where: str, status: int
) -> None:
    hub.add("org/model", SMALL)
    hub.troubles += [(where, error(status))] * 4
    assert prefetch(place, "org/model").done.bytes == size(SMALL)


@pytest.mark.parametrize("moment", [(n, answered) for n in range(1, 9) for answered in (False, True)])
def test_killed_at_any_request(
    hub: Hub, start: Runner, prefetch: Runner, place: Path, moment: tuple[int, bool]
) -> None:
    request_number, answered = moment
    commit = hub.add("org/model", SHARDED)
    run = start(place, "org/model", "--workers", "1")
    numbers = itertools.count(1)

    def before(asked: Asked) -> None:
        if next(numbers) == request_number and not answered:
            run.process.kill()

    def during(asked: Asked, sent: int) -> None:
        if len(hub.asked) == request_number and answered and sent:
            run.process.kill()

    hub.before, hub.during = before, during
    run.wait()
    hub.before, hub.during = (lambda asked: None), (lambda asked, sent: None)
    again = prefetch(place, "org/model").done
    assert (again.commit, again.bytes) == (commit, size(SHARDED))
    assert content(snapshot(place, "org/model", commit)) == SHARDED
    assert not list(place.rglob("*.incomplete"))


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGTERM])
def test_killed_in_mid_file(
    hub: Hub, start: Runner, prefetch: Runner, place: Path, way: signal.Signals
) -> None:
    files = SMALL | {"model.safetensors": noise(4_000_000)}
    hub.add("org/model", files)
    stop = threading.Event()

    def during(asked: Asked, sent: int) -> None:
        if "safetensors" in asked.path and sent >= 2_500_000:
            stop.wait(PATIENCE_SECONDS)

    hub.during = during
    run = start(place, "org/model", "--workers", "1")  # the small ones are there when the large one comes
    partial = (
        place / "hub/models--org--model/blobs" / f"{etag(files['model.safetensors'])}.prefetch.incomplete"
    )
    tick = threading.Event()
    while not (partial.exists() and partial.stat().st_size >= 1_000_000):
        tick.wait(0.02)
        assert run.process.poll() is None
    run.kill(way)
    assert run.code == (143 if way == signal.SIGTERM else -9)
    assert run.report_text == ""
    stop.set()
    have = partial.stat().st_size
    hub.asked.clear()
    again = prefetch(place, "org/model").done
    assert again.downloaded == hub.sent == 4_000_000 - have
    assert [asked.headers["Range"] for asked in hub.files()] == [f"bytes={have}-3999999"]
    assert content(snapshot(place, "org/model", again.commit)) == files


def test_a_wrong_beginning_is_not_gone_on_with(hub: Hub, prefetch: Runner, place: Path) -> None:
    commit = hub.add("org/model", SMALL)
    blobs = place / "hub/models--org--model/blobs"
    blobs.mkdir(parents=True)
    for name, start in {"model.safetensors": noise(1000, 66), "tokenizer.json": noise(9999, 66)}.items():
        (blobs / f"{etag(SMALL[name])}.prefetch.incomplete").write_bytes(start)
    give(place)
    assert prefetch(place, "org/model").code == 0
    assert content(snapshot(place, "org/model", commit)) == SMALL


def test_what_dead_processes_left_does_not_block(hub: Hub, prefetch: Runner, place: Path) -> None:
    commit = hub.add("org/model", SMALL)
    name = etag(SMALL["model.safetensors"])
    left = {
        f"hub/models--org--model/blobs/{name}.incomplete": b"half",
        f"hub/models--org--model/blobs/{name}.0badcafe.incomplete": b"half",
        f"hub/.locks/models--org--model/{name}.lock": b"",
    }
    for path, what in left.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(what)
    give(place)
    assert prefetch(place, "org/model").code == 0
    assert content(snapshot(place, "org/model", commit)) == SMALL
    assert {path: (place / path).read_bytes() for path in left} == left


def test_two_at_a_time_share_the_work(hub: Hub, start: Runner, place: Path) -> None:
    commit = hub.add("org/model", SHARDED)
    both_ask = threading.Barrier(2)

    def before(asked: Asked) -> None:
        if "/api/" in asked.path:
            both_ask.wait(PATIENCE_SECONDS)

    hub.before = before
    runs = [start(place, "org/model") for _ in range(2)]
    assert [(run.wait().code, run.err) for run in runs] == [(0, ""), (0, "")]
    assert sum(run.done.downloaded for run in runs) == hub.sent == size(SHARDED)
    assert content(snapshot(place, "org/model", commit)) == SHARDED


def test_a_file_that_another_run_finishes_between_two_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(os.path, "exists", lambda path: True)
    repository = Repository(argparse.Namespace(), Progress(9), "org/model")
    repository._check_space([File("model.safetensors", 5, "0" * 64)])


def test_code_that_the_configuration_names_is_brought(
    hub: Hub, prefetch: Runner, place: Path, as_user: Callable[..., str]
) -> None:
    code = {"configuration_x.py": b"class X: ...", "config.json": b"{}"}
    hub.add("other/code", code | {"model.safetensors": noise(5000)})
    config = b'{"auto_map": {"AutoConfig": "other/code--configuration_x.X", "AutoTokenizer": ["a.T", null]}}'
    commit = hub.add("org/model", SMALL | {"config.json": config})
    assert prefetch(place, "org/model").code == 0
    assert not (place / "hub/models--other--code").exists()
    run = prefetch(place, "org/model", "--revision", commit, "--trust-remote-code")
    assert run.done.downloaded == size(code)
    found = as_user(
        OFFLINE.format(model="other/code", revision="main", patterns="*.py"),
        HF_HOME=str(place), HF_HUB_OFFLINE="1",
    )  # fmt: skip
    assert content(Path(found)) == code
    hub.asked.clear()
    assert prefetch(place, "org/model", "--revision", commit, "--trust-remote-code").done.downloaded == 0
    assert hub.asked == []
    with contextlib.suppress(FileNotFoundError):
        os.unlink(place / "hub/models--other--code/refs/main")
    del hub.repos["other/code"]
    failure = prefetch(place, "org/model", "--revision", commit, "--trust-remote-code").failure
    assert failure.reason == "ModelNotFound"
    assert "other/code" in failure.message
