"""The operator's metrics are read and found well named by Prometheus' own linter."""

import subprocess

from tests.harness.binaries import find_binary
from vllm_operator.controller.metrics import Metrics
from vllm_operator.controller.store import Store
from vllm_operator.controller.workqueue import WorkQueue


def check(page: bytes) -> subprocess.CompletedProcess[bytes]:
    """Lint a page of metrics."""
    command = [find_binary("promtool"), "check", "metrics"]
    return subprocess.run(command, input=page, capture_output=True, check=False)


def test_names_and_units_are_as_prometheus_wants_them() -> None:
    metrics = Metrics()
    metrics.look_at(WorkQueue(), Store(), lambda: True)
    metrics.requested("GET", "200")
    done = check(metrics.page())
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_a_bad_name_is_found() -> None:
    assert check(b"# HELP a_total A.\n# TYPE a_total gauge\na_total 1\n").returncode != 0
