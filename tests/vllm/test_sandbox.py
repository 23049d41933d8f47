"""The stage is as strict as it says: otherwise a server that runs on it would prove nothing."""

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.vllm.cases import MODEL, Case
from tests.vllm.sandbox import VLLM, Outside, Sandbox

LOOK = Path(__file__).parent / "programs" / "look.py"
PLACES = "/:/data:/home/vllm:/tmp:/dev/shm:/dev:/etc:/etc/vllm:/usr:/var:/root:/proc:/sys:/home"


def look(case: Case, python: Path, scratch: Path, *, change: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a program in the place of vLLM sees. `change` comes over the container."""
    template = copy.deepcopy(case.template)
    (container,) = template["spec"]["containers"]
    container["command"] = [f"{python}/bin/python", "-c", LOOK.read_text(), PLACES]
    container |= change or {}
    scratch.mkdir()
    claim = scratch / "claim"
    claim.mkdir()
    outside = Outside({case.claim: claim}, {"maps": {"it": "hello"}}, {"keys": {"k": "secret"}})
    if change and "volumeMounts" in change:
        items = [{"key": "it", "path": "it.jinja"}]
        template["spec"]["volumes"].append({"name": "map", "configMap": {"name": "maps", "items": items}})
    command = Sandbox(template, outside, VLLM(python), scratch).command()
    seen: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return seen


def test_nobody_has_any_power(python: Path, tmp_path: Path) -> None:
    seen = look(Case("power"), python, tmp_path / "it")
    assert (seen["pid"], seen["uid"], seen["gid"]) == (1, 1000, 1000)
    assert seen["capabilities"] == dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), 0)
    assert (seen["noNewPrivileges"], seen["seccomp"]) == ("1", "2")
    assert seen["interfaces"] == ["lo"]


def test_only_the_volumes_are_writable(python: Path, tmp_path: Path) -> None:
    seen = look(Case("write"), python, tmp_path / "it")
    assert seen["writable"] == ["/data", "/home/vllm", "/tmp", "/dev/shm"]
    assert not {"opt", "srv", "mnt"} & set(seen["root"])
    given = look(Case("given", {"cache": {"claimName": "models"}}), python, tmp_path / "other")
    assert given["writable"] == ["/home/vllm", "/tmp", "/dev/shm"]


def test_memory_volumes_have_their_size(python: Path, tmp_path: Path) -> None:
    assert look(Case("shm", {"shmSize": "96Mi"}), python, tmp_path / "it")["shm"] == 96 * 1024**2


def test_config_maps_are_read_only_folders(python: Path, tmp_path: Path) -> None:
    case = Case("map")
    mounts = case.template["spec"]["containers"][0]["volumeMounts"]
    mount = {"name": "map", "mountPath": "/etc/vllm", "readOnly": True}
    seen = look(case, python, tmp_path / "it", change={"volumeMounts": [*mounts, mount]})
    assert seen["configMap"] == {"it.jinja": "hello"}
    assert "/etc/vllm" not in seen["writable"]


def test_the_environment_is_the_rendered_one(python: Path, tmp_path: Path) -> None:
    extra = [
        {"name": "LITERAL", "value": "$(HOME) $$ $x"},
        {"name": "EMPTY"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "k"}}},
        {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "k", "optional": True}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]
    case = Case("environment", {"extraEnv": extra})
    seen = look(case, python, tmp_path / "it")["environment"]
    assert {name: seen[name] for name in ("LITERAL", "EMPTY", "KEY", "IP")} == {
        "LITERAL": "$(HOME) $$ $x",
        "EMPTY": "",
        "KEY": "secret",
        "IP": "10.255.0.1",
    }
    rendered = {entry["name"] for entry in case.template["spec"]["containers"][0]["env"]}
    # bubblewrap says where it stands, and Python which locale it has made of none.
    assert set(seen) - {"LC_CTYPE", "PATH", "PWD"} == rendered - {"NONE"}


def test_words_are_the_rendered_ones(python: Path, tmp_path: Path) -> None:
    words = ["--x", "$(HOME)", "$$", "a b", "'\"", "ä\n"]
    seen = look(Case("words", {"extraArgs": words[1:]}), python, tmp_path / "it")
    assert seen["words"][0] == MODEL
    assert seen["words"][-5:] == words[1:]


def test_what_is_not_known_is_refused(python: Path, tmp_path: Path) -> None:
    template = Case("unknown").template
    template["spec"]["hostNetwork"] = True
    with pytest.raises(LookupError, match="hostNetwork"):
        Sandbox(template, Outside({}), VLLM(python), tmp_path)
