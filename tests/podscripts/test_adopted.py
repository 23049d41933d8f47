"""Caches that are there already: another layout, another hand, another volume."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.podscripts.conftest import Run, give
from tests.podscripts.hub import Hub, etag
from tests.podscripts.models import NEEDLESS, SHARDED, noise, size
from tests.podscripts.test_download import OFFLINE, content, snapshot

Runner = Callable[..., Run]
Python = Callable[..., str]
NAME = "models--org--model"


def states(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Everything of a folder that somebody could have changed."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in (folder, *sorted(folder.rglob("*"))):
        stat = path.lstat()
        inner = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder))] = (
            stat.st_ino,
            stat.st_mode,
            stat.st_mtime_ns,
            stat.st_uid,
            inner,
        )
    return found


def filled(as_user: Python, cache: Path, patterns: object = None, **variables: str) -> None:
    """A cache as huggingface_hub itself, and so an older system, has filled it."""
    code = f"import huggingface_hub as h; h.snapshot_download('org/model', allow_patterns={patterns!r})"
    as_user(code, HF_HUB_CACHE=str(cache), HF_HOME=str(cache.parent / "home"), **variables)


@pytest.mark.parametrize("where", [".", "hub/hub"])
def test_another_layout_is_adopted(
    hub: Hub, prefetch: Runner, place: Path, as_user: Python, where: str
) -> None:
    commit = hub.add("org/model", SHARDED)
    home = place / "data"
    home.mkdir()
    give(place)
    filled(as_user, home / where)
    before = states(home / where / NAME)
    hub.asked.clear()
    run = prefetch(home, "org/model")
    assert (run.done.downloaded, run.done.adopted, hub.sent) == (0, len(SHARDED), 0)
    assert run.report["adopted"] == {
        "files": len(SHARDED), "bytes": size(SHARDED), "from": [os.path.normpath(home / where / NAME)],
    }  # fmt: skip
    assert states(home / where / NAME) == before
    # The volume is mounted elsewhere for the server, which looks below HF_HOME/hub.
    moved = home.rename(place / "mounted-elsewhere")
    found = as_user(
        OFFLINE.format(model="org/model", revision=commit, patterns=None),
        HF_HOME=str(moved),
        HF_HUB_OFFLINE="1",
    )
    assert Path(found) == snapshot(moved, "org/model", commit)
    assert content(Path(found)) == SHARDED
    hub.asked.clear()
    assert prefetch(moved, "org/model", "--revision", commit).done.downloaded == 0
    assert hub.asked == []


def test_weights_in_one_place_and_the_rest_in_another(
    hub: Hub, prefetch: Runner, place: Path, as_user: Python
) -> None:
    """HF_HOME=/data with --download-dir /data."""
    commit = hub.add("org/model", SHARDED)
    filled(as_user, place, ["*.safetensors"])
    filled(as_user, place / "hub", ["*.json"])
    hub.asked.clear()
    done = prefetch(place, "org/model").done
    rest = {name: what for name, what in SHARDED.items() if not name.endswith((".json", ".safetensors"))}
    assert (done.adopted, done.downloaded, hub.sent) == (3, size(rest), size(rest))
    assert content(snapshot(place, "org/model", commit)) == SHARDED
    assert not list((place / NAME).rglob("*.jinja"))


def test_files_without_links_are_adopted(hub: Hub, prefetch: Runner, place: Path) -> None:
    commit = hub.add("org/model", SHARDED)
    for name, what in SHARDED.items():
        path = place / NAME / "snapshots" / commit / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(what)
    give(place)
    done = prefetch(place, "org/model").done
    assert (done.adopted, done.downloaded) == (len(SHARDED), 0)


def test_what_is_broken_is_not_adopted(hub: Hub, prefetch: Runner, place: Path, as_user: Python) -> None:
    commit = hub.add("org/model", SHARDED)
    filled(as_user, place)
    short = place / NAME / "blobs" / etag(SHARDED["model-1.safetensors"])
    os.truncate(short, 1000)
    other = place / NAME / "blobs" / etag(SHARDED["tokenizer.json"])
    other.write_bytes(noise(1500, 55))
    before = states(place / NAME)
    done = prefetch(place, "org/model").done
    assert (done.adopted, done.downloaded) == (len(SHARDED) - 2, 401_500)
    assert content(snapshot(place, "org/model", commit)) == SHARDED
    assert states(place / NAME) == before


def test_a_cache_of_huggingface_hub_is_taken_as_it_is(
    hub: Hub, prefetch: Runner, place: Path, as_user: Python
) -> None:
    commit = hub.add("org/model", SHARDED)
    filled(as_user, place / "hub")
    before = states(place / "hub" / NAME)
    hub.asked.clear()
    run = prefetch(place, "org/model", "--revision", commit)
    assert (run.done.downloaded, run.done.adopted, hub.sent, len(hub.asked)) == (0, 0, 0, 1)
    assert states(place / "hub" / NAME) == before
    assert [step.step for step in run.steps] == ["resolve", "verify", "done"]


@pytest.mark.parametrize("break_it", ["short", "other", "gone", "dangling"])
def test_a_broken_cache_is_mended(hub: Hub, prefetch: Runner, place: Path, break_it: str) -> None:
    commit = hub.add("org/model", SHARDED)
    prefetch(place, "org/model")
    name = "tokenizer.json" if break_it == "other" else "model-2.safetensors"
    link = snapshot(place, "org/model", commit) / name
    if break_it == "short":
        os.truncate(link, 399_999)
    elif break_it == "other":
        link.write_bytes(noise(1500, 55))
    elif break_it == "gone":
        link.unlink()
    else:
        link.resolve().unlink()
    hub.asked.clear()
    done = prefetch(place, "org/model", "--revision", commit).done
    assert done.downloaded == (0 if break_it == "gone" else len(SHARDED[name]))
    assert content(snapshot(place, "org/model", commit)) == SHARDED


@pytest.fixture
def full_volume(
    hub: Hub, volume: Callable[[int], Path], as_user: Python, read_only: Callable[[Path], None]
) -> Callable[[str, str], Path]:
    """Gives a volume with the model in some layout, which uid 1000 cannot write."""

    def make(layout: str, mounted: str) -> Path:
        hub.add("org/model", SHARDED)
        home = volume(8)
        filled(as_user, home / layout)
        if mounted == "read-only":
            read_only(home)
        else:
            for path in (home, *home.rglob("*")):
                os.chown(path, 0, 0, follow_symlinks=False)
        hub.asked.clear()
        return home

    return make


Volumes = Callable[[str, str], Path]


@pytest.mark.parametrize("mounted", ["read-only", "not ours"])
def test_a_complete_cache_need_not_be_writable(
    hub: Hub, prefetch: Runner, full_volume: Volumes, mounted: str
) -> None:
    home = full_volume("hub", mounted)
    done = prefetch(home, "org/model").done
    assert (done.downloaded, done.adopted, done.cache) == (0, 0, str(home / "hub"))
    assert (done.files, len(hub.asked)) == (len(SHARDED), 1)
    # And with a commit given not even a hub is needed.
    done = prefetch(home, "org/model", "--revision", done.commit, HF_ENDPOINT="http://127.0.0.1:9").done
    assert done.files == len(SHARDED)


@pytest.mark.parametrize("mounted", ["read-only", "not ours"])
def test_another_layout_that_is_not_writable_is_named(
    prefetch: Runner, full_volume: Volumes, as_user: Python, mounted: str
) -> None:
    home = full_volume(".", mounted)
    done = prefetch(home, "org/model").done
    assert (done.downloaded, done.adopted, done.cache) == (0, len(SHARDED), str(home))
    code = OFFLINE.format(model="org/model", revision=done.commit, patterns=None)
    assert content(Path(as_user(code, HF_HUB_CACHE=done.cache, HF_HUB_OFFLINE="1"))) == SHARDED


@pytest.mark.parametrize("lacks", ["model-3.safetensors", "config.json", "*.safetensors"])
def test_without_a_hub_nothing_may_seem_missing(
    hub: Hub, prefetch: Runner, place: Path, as_user: Python, lacks: str
) -> None:
    commit = hub.add("org/model", SHARDED | NEEDLESS)
    filled(as_user, place / "hub")
    arguments, nowhere = ("org/model", "--revision", commit), {"HF_ENDPOINT": "http://127.0.0.1:9"}
    assert prefetch(place, *arguments, **nowhere).done.commit == commit
    for link in snapshot(place, "org/model", commit).glob(lacks):
        link.resolve().unlink()
    assert prefetch(place, *arguments, **nowhere).failure.reason == "HubUnreachable"
