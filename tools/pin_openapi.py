"""Writes api/kubernetes.json: the Kubernetes types that our resources embed, without their prose.

Source: api/openapi-spec/swagger.json of the k8s.io/kubernetes module that tools/controlplane pins. Run it by
`make pin-openapi` when that version moves.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "operator" / "vllm_operator" / "api" / "kubernetes.json"
MODULE = "k8s.io/kubernetes"
EMBEDDED = (
    *("core.v1.Affinity", "core.v1.Toleration", "core.v1.TopologySpreadConstraint"),
    "networking.v1.NetworkPolicyPeer",
)
KEPT = ("type", "format", "items", "additionalProperties", "properties", "required", "enum", "$ref")
# A pod of ours is placed by what is in its own namespace: no reference leaves it (DESIGN, promise 5).
LEFT_OUT = {"PodAffinityTerm": ("namespaces", "namespaceSelector")}


def short(name: str) -> str:
    """The last part of a definition's name; no two of ours share it."""
    return name.rsplit(".", 1)[-1]


def bare(node: Any) -> Any:
    """A schema without prose and extensions, its references by short names."""
    if isinstance(node, list):
        return node
    kept = {key: value for key, value in sorted(node.items()) if key in KEPT}
    for key in ("items", "additionalProperties"):
        if key in kept:
            kept[key] = bare(kept[key])
    if "properties" in kept:
        kept["properties"] = {name: bare(child) for name, child in sorted(kept["properties"].items())}
    if "$ref" in kept:
        kept["$ref"] = short(kept["$ref"])
    return kept


def subset(definitions: dict[str, Any]) -> dict[str, Any]:
    """The embedded definitions and all that they refer to."""
    found: dict[str, Any] = {}
    waiting = [f"io.k8s.api.{name}" for name in EMBEDDED]
    while waiting:
        name = waiting.pop()
        if short(name) in found:
            continue
        definition = json.loads(json.dumps(definitions[name]))
        for field in LEFT_OUT.get(short(name), ()):
            del definition["properties"][field]
        found[short(name)] = bare(definition)
        waiting += re.findall(r'"#/definitions/([^"]+)"', json.dumps(definition))
    return dict(sorted(found.items()))


def main() -> int:
    """Write the file; the exit code is 1 when the module is not in Go's cache."""
    listed = subprocess.run(
        ["go", "-C", ROOT / "tools" / "controlplane", "list", "-m", "-json", MODULE],
        check=True,
        capture_output=True,
        text=True,
    )
    module = json.loads(listed.stdout)
    if "Dir" not in module:
        print(f"{MODULE} is not in Go's cache: run `make tools` first", file=sys.stderr)
        return 1
    swagger = json.loads((Path(module["Dir"]) / "api" / "openapi-spec" / "swagger.json").read_text())
    pinned = {"source": f"{MODULE} {module['Version']}", "definitions": subset(swagger["definitions"])}
    TARGET.write_text(json.dumps(pinned, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
