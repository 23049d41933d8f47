"""The chart installed by the real helm, and the operator that runs as its Deployment says."""

import os
import shlex
import subprocess
from pathlib import Path

from tests.harness.api import Object
from tests.harness.binaries import REPOSITORY, find_binary
from tests.harness.controlplane import ControlPlane
from tests.harness.helm import CHART, RELEASE, Values, as_words, helm
from tests.harness.operator import SOURCE, OperatorProcess

WAIT = ("--wait", "--timeout", "60s")


def run(plane: ControlPlane, *words: str) -> str:
    """Run helm in the release's namespace and return what it prints; a warning is a failure."""
    done = attempt(plane, *words)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def attempt(plane: ControlPlane, *words: str) -> subprocess.CompletedProcess[str]:
    """Run helm in the release's namespace, whatever comes of it."""
    return helm(*words, "--namespace", RELEASE, kubeconfig=plane.kubeconfig)


def install(plane: ControlPlane, values: Values, chart: Path = CHART) -> str:
    """Install a chart, wait until its pods are ready, and return the notes."""
    return run(plane, "install", RELEASE, str(chart), *as_words(values), *WAIT)


def deployment(plane: ControlPlane) -> Object:
    """Return the operator's Deployment."""
    found = plane.api.get("Deployment", RELEASE, RELEASE)
    assert found is not None
    return found


def operator(plane: ControlPlane, source: Path = SOURCE) -> OperatorProcess:
    """Return an operator, not yet started, with the arguments, environment and account of the Deployment.

    `source` is the folder of its package.
    """
    pod = deployment(plane)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    variables = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    (own,) = (each for each in container["env"] if "valueFrom" in each)
    assert (own["name"], own["valueFrom"]["fieldRef"]["fieldPath"]) == ("POD_NAMESPACE", "metadata.namespace")
    command, *arguments = container["args"]
    assert command == "run"
    return OperatorProcess(
        plane,
        None,
        variables | {"POD_NAMESPACE": RELEASE},
        system=RELEASE,
        account=pod["serviceAccountName"],
        arguments=arguments,
        source=source,
    )


def documented(page: str, part: str) -> str:
    """Return the one command of a page that has a part."""
    text = (REPOSITORY / page).read_text()
    (line,) = {each.strip() for each in text.splitlines() if each.startswith("    ") and part in each}
    return line


def words(line: str) -> list[str]:
    """Return the words of a command after the first."""
    return shlex.split(line, comments=True)[1:]


def kubectl(plane: ControlPlane, *words: str) -> str:
    """Run kubectl in the repository and in no namespace of its own, as README.md tells an administrator."""
    inherited = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    done = subprocess.run(
        [find_binary("kubectl"), *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=REPOSITORY,
        env=inherited | {"KUBECONFIG": str(plane.kubeconfig)},
    )
    assert (done.returncode, done.stderr) == (0, ""), f"{words}: {done.stdout}{done.stderr}"
    return done.stdout
