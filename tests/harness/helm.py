"""The real helm, and the chart of this repository as it renders it."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.harness.api import Object
from tests.harness.binaries import REPOSITORY, find_binary

CHART = REPOSITORY / "charts" / "vllm-operator"
RELEASE = "vllm-operator"
# A helm that was built here knows no version of Kubernetes; this is the oldest that the chart takes.
KUBERNETES = "1.30.0"
SECONDS = 120

Values = Mapping[str, Any]


def helm(*words: str, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run helm in the repository, whatever comes of it."""
    # A proxy of the surroundings must not come between helm and a server on loopback.
    inherited = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    return subprocess.run(
        [find_binary("helm"), *words],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        cwd=REPOSITORY,
        env=inherited | {"KUBECONFIG": str(kubeconfig or os.devnull)},
    )


def template(
    values: Values, *words: str, chart: Path = CHART, release: str = RELEASE
) -> subprocess.CompletedProcess[str]:
    """Run `helm template` with values, whatever comes of it."""
    return helm(
        *("template", release, str(chart), "--namespace", RELEASE, "--kube-version", KUBERNETES),
        *as_words(values),
        *words,
    )


def as_words(values: Values) -> list[str]:
    """Return values as words of helm's command line."""
    return [word for name, value in values.items() for word in ("--set-json", f"{name}={json.dumps(value)}")]


def render(values: Values, *words: str, chart: Path = CHART, release: str = RELEASE) -> list[Object]:
    """Return what the chart makes of values."""
    done = template(values, *words, chart=chart, release=release)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def only(objects: list[Object], kind: str, name: str | None = None) -> Object:
    """Return the one object of a kind (and a name)."""
    (found,) = (each for each in objects if each["kind"] == kind and name in (None, each["metadata"]["name"]))
    return found
