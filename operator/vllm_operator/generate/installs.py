"""What Helm renders of the chart, for those who install without it: install.yaml, parts of kustomizations."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from vllm_operator.api.schema import crds
from vllm_operator.desired import names
from vllm_operator.generate import HEADER, dump
from vllm_operator.generate.chart import CHART, OLDEST_KUBERNETES

NAMESPACE = names.FIELD_MANAGER
WATCHED = "models"
"""The namespace that the namespaced overlay watches; who takes it names others in its place."""

_RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}

Json = dict[str, Any]


class HelmError(Exception):
    """Helm is not there, or does not render the chart. The text is for people."""


def installs(root: Path) -> dict[str, str]:
    """Path (below the root of the repository) and content of all that Helm renders from the chart there.

    Raises HelmError.
    """
    everywhere, somewhere = _render(root), _render(root, "--set", f"watchNamespaces={{{WATCHED}}}")
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": _RESTRICTED},
    }
    files = {
        "manifests/install.yaml": [namespace, *crds(), *everywhere],
        "manifests/base/crds.yaml": crds(),
        "manifests/base/operator.yaml": [
            namespace,
            *(each for each in everywhere if each in somewhere),
            _deployment(everywhere),
        ],
        "manifests/overlays/cluster-wide/rbac.yaml": _rights(everywhere, somewhere),
        "manifests/overlays/namespaced/rbac.yaml": _rights(somewhere, everywhere),
    }
    return {name: HEADER + dump(objects) for name, objects in files.items()}


def _rights(of: list[Json], others: list[Json]) -> list[Json]:
    return [each for each in of if each not in others and each["kind"] != "Deployment"]


def _deployment(objects: list[Json]) -> Json:
    (found,) = (each for each in objects if each["kind"] == "Deployment")
    return found


def _render(root: Path, *arguments: str) -> list[Json]:
    helm = root / ".tools" / "bin" / "helm"
    if not helm.exists():
        raise HelmError(f"{helm} is not there: run `make tools`")
    command = [
        str(helm),
        "template",
        names.FIELD_MANAGER,
        str(root / CHART),
        "--namespace",
        NAMESPACE,
        "--skip-tests",
    ]
    # Helm without a cluster takes the version for which it was built, and a build of one's own knows none.
    command += ["--kube-version", OLDEST_KUBERNETES, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if done.returncode != 0:
        raise HelmError(done.stderr.strip())
    return [each for each in yaml.safe_load_all(done.stdout) if each]
