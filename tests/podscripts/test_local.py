"""A model that somebody has put into the cache as a folder: it is only looked at."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.podscripts.conftest import Run, give
from tests.podscripts.hub import Hub
from tests.podscripts.models import SMALL, size
from tests.podscripts.test_adopted import states
from tests.podscripts.test_failures import check
from vllm_operator.api.prefetch import EXIT_ACT

Runner = Callable[..., Run]


@pytest.fixture
def local(place: Path) -> Path:
    folder = place / "models/My Model"
    (folder / "sub").mkdir(parents=True)
    for name, content in SMALL.items():
        (folder / name).write_bytes(content)
    (folder / "sub/x").write_bytes(b"12")
    return folder


def test_a_folder_is_looked_at(hub: Hub, prefetch: Runner, place: Path, local: Path) -> None:
    give(place)
    before = states(local)
    run = prefetch(place, str(local))
    done = run.done
    assert (done.commit, done.files, done.bytes) == ("", len(SMALL) + 1, size(SMALL) + 2)
    assert (done.downloaded, done.adopted, done.cache) == (0, 0, str(place / "hub"))
    assert hub.asked == []
    assert states(local) == before
    assert [step.step for step in run.steps] == ["resolve", "verify", "done"]


def test_code_that_a_folder_names_is_brought(hub: Hub, prefetch: Runner, place: Path, local: Path) -> None:
    hub.add("other/code", {"x.py": b"class X: ...", "config.json": b"{}"})
    (local / "config.json").write_bytes(b'{"auto_map": {"AutoConfig": "other/code--x.X"}}')
    give(place)
    assert prefetch(place, str(local), "--trust-remote-code").done.downloaded == 14
    assert list((place / "hub/models--other--code/snapshots").glob("*/x.py"))


@pytest.mark.parametrize("path", ["models/nothing", "models/My Model/config.json", "models", "../outside"])
def test_what_is_no_model(hub: Hub, prefetch: Runner, place: Path, local: Path, path: str) -> None:
    home = place / "models" if path.startswith("..") else place
    outside = place / "outside"
    outside.mkdir()
    (outside / "config.json").write_text("{}")
    give(place)
    run = prefetch(home, f"{home}/{path}")
    check(run, "ModelNotFound", EXIT_ACT, f"{home}/{path}", "spec.model.name")
    assert hub.asked == []


@pytest.mark.parametrize("what", ["", "sub", "sub/x", "config.json", "model.safetensors"])
def test_what_nobody_may_read(prefetch: Runner, place: Path, local: Path, what: str) -> None:
    give(place)
    os.chown(local / what, 0, 0)
    (local / what).chmod(0o600)
    run = prefetch(place, str(local))
    check(run, "CacheNotReadable", EXIT_ACT, f"may not use {local / what}", "uid 0", "mode 0600")
