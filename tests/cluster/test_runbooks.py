"""What the runbooks say to look at can be looked at: their lines, run as they stand by the real kubectl."""

import re
import shlex

import pytest

from tests.cluster import kubectl, quantizing, support
from tests.harness.api import Api
from tests.harness.binaries import REPOSITORY
from tests.harness.operator import Cluster, OperatorProcess

PAGES = sorted((REPOSITORY / "docs" / "runbooks").glob("*.md"))
ABSENT = ("servicemonitor", "top pods", "logs job/", "logs POD", "logs -l vllm-operator.dev/")
"""Words of lines that ask for what the test cluster has not: kinds of add-ons, and containers that run."""

ACCOUNT = "system:serviceaccount:vllm-operator:vllm-operator"


def lines() -> list[str]:
    """Return the lines of all pages, without what a pipe makes of the answer."""
    found = [line for page in PAGES for line in re.findall(r"^    (kubectl .+)$", page.read_text(), re.M)]
    asked = {line.split(" | ")[0] for line in found}
    return sorted(line for line in asked if not any(words in line for words in ABSENT))


def test_the_lines_of_the_runbooks_run(
    cluster: Cluster, api: Api, namespace: str, operator: OperatorProcess
) -> None:
    support.put(api, support.server(namespace))
    quantizing.make_claim(api, namespace)
    support.put(api, quantizing.quantization(namespace, "chat"))
    support.wait_serving(api, namespace)
    quantizing.wait_ready(api, namespace, "chat")
    assert len(lines()) > 15
    for line in lines():
        filled = line.replace("NAMESPACE", namespace).replace("NAME", "chat").replace("=N", "=1")
        filled = filled.replace(ACCOUNT, operator.user).replace("-n vllm-operator", f"-n {operator.system}")
        assert not re.search(r"\b[A-Z]{2,}\b", re.sub(r"'[^']*'", "", filled)), line
        done = kubectl.attempt(cluster, "default", *shlex.split(filled)[1:])
        assert done.returncode == 0, f"{line}: {done.stderr}"


@pytest.mark.parametrize("condition", ["Available", "Stalled"])
def test_the_line_that_lists_servers_names_them(
    cluster: Cluster, api: Api, namespace: str, operator: OperatorProcess, condition: str
) -> None:
    """A server that cannot start has both conditions."""
    (line,) = (each for each in lines() if f'@.type=="{condition}"' in each)
    support.put(api, support.server(namespace, engine={"family": "vllm", "version": "9.9"}))
    support.wait_condition(api, namespace, "chat", "InvalidForEngine", "False")
    said = kubectl.kubectl(cluster, "default", *shlex.split(line)[1:])
    told = [each for each in said.splitlines() if each.startswith(f"{namespace}/chat ")]
    assert len(told) == 1
    assert "engine" in told[0]
