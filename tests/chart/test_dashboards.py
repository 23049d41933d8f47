"""Every query of the dashboards is read by Prometheus' own parser."""

import subprocess
from pathlib import Path

import yaml

from tests.harness import promql

QUERIES = [*promql.of_dashboards()]


def check(folder: Path, expressions: list[str]) -> subprocess.CompletedProcess[str]:
    """Have promtool read expressions, as rules that record them."""
    rules = [{"record": f"r{index}", "expr": expr} for index, expr in enumerate(expressions)]
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    return promql.promtool("check", "rules", file)


def test_every_query_is_read(tmp_path: Path) -> None:
    done = check(tmp_path, [query.filled for query in QUERIES])
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(QUERIES)} rules found" in done.stdout


def test_a_query_that_is_wrong_is_found(tmp_path: Path) -> None:
    assert check(tmp_path, ["sum(rate(a_total[5m]))", "sum(rate(a_total[5m])"]).returncode != 0
