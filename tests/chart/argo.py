"""The health of an object as Argo CD finds it: its Lua, in a real Lua 5.1, and its own rules around that."""

import subprocess
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from lupa import lua51  # type: ignore[import-untyped]

from tests.harness.binaries import REPOSITORY, find_binary

HEALTH = REPOSITORY / "manifests" / "gitops" / "argocd" / "health"
KEY = "resource.customizations.health.{group}_{kind}"
STATUSES = frozenset({"Healthy", "Progressing", "Degraded", "Suspended"})
"""What a check may return (argo-cd v3.6.1, docs/operator-manual/health.md)."""
# Argo CD opens package, base, table, and of os what is harmless (util/lua/lua.go: runLua). Without `string`,
# strings have no methods.
_WITHOUT = """
debug.setmetatable("", nil)
for _, name in ipairs({"coroutine", "debug", "io", "math", "newproxy", "os", "string"}) do _G[name] = nil end
"""


class Health(NamedTuple):
    """What Argo CD shows of an object."""

    status: str
    message: str


@cache
def config_map(folder: Path = HEALTH) -> dict[str, Any]:
    """The ConfigMap as kustomize makes it."""
    command = [find_binary("kubectl"), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    made: dict[str, Any] = yaml.safe_load(done.stdout)
    return made


def check(obj: dict[str, Any]) -> Health | None:
    """The health of an object by its check in the ConfigMap; None where there is none for its kind."""
    group, kind = obj["apiVersion"].partition("/")[0], obj["kind"]
    script = config_map()["data"].get(KEY.format(group=group, kind=kind))
    return run(script, obj) if script is not None else None


def run(script: str, obj: dict[str, Any]) -> Health:
    """Run a check on an object."""
    runtime = lua51.LuaRuntime(register_eval=False, register_builtins=False, max_memory=2**24)
    runtime.execute(_WITHOUT)
    runtime.globals().python = None
    runtime.globals().obj = runtime.table_from(obj, recursive=True)
    found = dict(runtime.execute(script))
    assert set(found) <= {"status", "message"}
    assert found["status"] in STATUSES
    return Health(found["status"], found.get("message", ""))


def health(obj: dict[str, Any]) -> Health | None:
    """The health of an object in the cluster.

    What is about to go is Progressing, whatever its check says, unless that sets a `deletionMessage`, which
    ours does not (gitops-engine v3.6.1, pkg/health/health.go: pendingDeletionHealth). A kind without a check
    has no health, and counts as if it had the best one (controller/health.go).
    """
    found = check(obj)
    if "deletionTimestamp" in obj["metadata"]:
        return Health("Progressing", "Pending deletion")
    return found
