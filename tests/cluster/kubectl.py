"""The real kubectl, as a reader of the docs or of a condition's message uses it."""

import os
import re
import subprocess
from pathlib import Path

from tests.harness.binaries import find_binary
from tests.harness.operator import Cluster

SECONDS = 120


def kubectl(cluster: Cluster, namespace: str, *words: str) -> str:
    """Run kubectl as the administrator and return what it prints; its warnings are failures."""
    done = attempt(cluster, namespace, *words)
    assert (done.returncode, done.stderr) == (0, ""), f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def attempt(cluster: Cluster, namespace: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run kubectl as the administrator, whatever comes of it."""
    command = [find_binary("kubectl"), "-n", namespace, *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS, check=False, env=_environment(cluster)
    )


def lines(message: str) -> list[str]:
    """Return the lines that a message tells to run."""
    return re.findall(r"`(kubectl [^`]+)`", message)


def follow(cluster: Cluster, message: str, containing: str, **filled: str) -> str:
    """Do what a message says: run its line with these words as it stands, but for what is to be filled in."""
    (line,) = (line for line in lines(message) if containing in line)
    for word, value in filled.items():
        assert word in line, line
        line = line.replace(word, value)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-ec", line],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=_environment(cluster),
    )
    assert (done.returncode, done.stderr) == (0, ""), f"{line}: {done.stdout}{done.stderr}"
    return done.stdout


def _environment(cluster: Cluster) -> dict[str, str]:
    # A proxy of the surroundings must not come between kubectl and a server on loopback.
    inherited = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    folder = str(Path(find_binary("kubectl")).parent)
    path = os.pathsep.join((folder, inherited.get("PATH", "")))
    return inherited | {"KUBECONFIG": str(cluster.kubeconfig), "PATH": path}
