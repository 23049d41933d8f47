"""The README's own lines, word for word: by each way to run the operator a first server comes to serve."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cluster import charts
from tests.harness.binaries import REPOSITORY
from tests.harness.controlplane import ControlPlane
from tests.harness.helm import helm
from tests.harness.operator import READY_SECONDS, SOURCE
from tests.harness.processes import Process, free_ports, wait_until


def block(opening: str) -> list[str]:
    """Return the commands below the paragraph that begins so."""
    text = (REPOSITORY / "README.md").read_text()
    (found,) = re.findall(rf"^{re.escape(opening)}.*\n\n((?:    .+\n)+)", text, re.M)
    return [line.strip() for line in found.splitlines()]


INSTALLS = [*block("By Helm:"), *block("or by one file")]
CRDS, SETUP, RUN = block("Or run the operator from here")


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    """A control plane that nobody has put CRDs into."""
    with ControlPlane(nodes=2) as running:
        yield running


def run(plane: ControlPlane, line: str) -> str:
    """Run a line as it stands, by the real helm or kubectl, and return what it prints."""
    program, *words = shlex.split(line)
    if program == "kubectl":
        return charts.kubectl(plane, *words)
    assert program == "helm"
    done = helm(*words, kubeconfig=plane.kubeconfig)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def make_a_first_server(plane: ControlPlane) -> None:
    *_, waited, described = [run(plane, line) for line in block("Then")]
    assert waited == "vllmserver.vllm-operator.dev/chat condition met\n"
    assert re.search(r"Reason: +Serving\n +Status: +True", described)


@pytest.mark.parametrize("line", INSTALLS)
def test_a_first_server_of_an_installed_operator(plane: ControlPlane, line: str) -> None:
    run(plane, line)
    with charts.operator(plane):
        make_a_first_server(plane)


def test_a_first_server_of_an_operator_that_runs_from_here(plane: ControlPlane, tmp_path: Path) -> None:
    run(plane, CRDS)
    (tmp_path / ".kube").mkdir()
    shutil.copy(plane.kubeconfig, tmp_path / ".kube" / "config")
    (port,) = free_ports(1)
    here = {"VLLM_OPERATOR_HEALTH_ADDRESS": "127.0.0.1", "VLLM_OPERATOR_HEALTH_PORT": str(port)}
    environment = surroundings() | here | {"HOME": str(tmp_path)}
    command = ["/usr/bin/env", f"--chdir={REPOSITORY}", "bash", "-c", RUN]
    operator = Process("operator", command, tmp_path / "operator.log", environment)

    def ready() -> bool:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5.0, trust_env=False)
        except httpx.TransportError:
            return False
        return answer.status_code == httpx.codes.OK

    operator.start()
    try:
        wait_until(ready, [operator], READY_SECONDS, "the operator is ready")
        make_a_first_server(plane)
    finally:
        code = operator.stop(patience=30.0)
    assert code == 0, operator.tail()


def test_what_the_other_lines_need_is_there() -> None:
    (render,) = block("What would be made of a resource")
    for line, words in ((f"{SETUP} --dry-run --always-make", "pip install"), (render, "kind: Deployment")):
        done = subprocess.run(
            shlex.split(line),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=REPOSITORY,
            env=surroundings(),
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert words in done.stdout


def surroundings() -> dict[str, str]:
    """Return the environment without a proxy and a make above, in which the repository's package is found."""
    left = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    left.pop("MAKEFLAGS", None)
    return left | {"PYTHONPATH": str(SOURCE)}
