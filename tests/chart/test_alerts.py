"""The alerts fire when they should, and not else, in Prometheus' own rule engine; each has a page."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness import promql
from tests.harness.binaries import REPOSITORY
from tests.harness.promql import promtool

CASES = sorted((Path(__file__).parent / "alerts").glob("*.yaml"))
PAGES = REPOSITORY / "docs" / "runbooks"
ALERTS = {rule["alert"]: rule for rule in promql.alerts()}
TABLE = (REPOSITORY / "docs" / "metrics.md").read_text()
KNOWN = promql.of_operator() | promql.of_vllm()
SECTIONS = ["Meaning", "Impact", "Look at", "Remedy"]


def test_prometheus_reads_the_rules() -> None:
    done = promtool("check", "rules", promql.ALERTS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(ALERTS)} rules found" in done.stdout


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_it_fires_when_it_should(path: Path) -> None:
    done = promtool("test", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_it_is_fed_with_nothing_but_what_a_scrape_gives(path: Path) -> None:
    for test in yaml.safe_load(path.read_text())["tests"]:
        for each in test["input_series"]:
            assert promql.unknown(promql.Query(path.stem, each["series"]), KNOWN) == set()


def expectations(path: Path) -> list[tuple[str, bool]]:
    """Which alerts a file of cases looks at, and whether it expects them to fire."""
    body = yaml.safe_load(path.read_text())
    assert [(path.parent / file).resolve() for file in body["rule_files"]] == [promql.ALERTS]
    return [
        (case["alertname"], bool(case["exp_alerts"]))
        for test in body["tests"]
        for case in test["alert_rule_test"]
    ]


def test_each_alert_is_seen_to_fire_and_not_to_fire() -> None:
    seen = {(path.stem, *each) for path in CASES for each in expectations(path)}
    assert seen == {(name, name, fires) for name in ALERTS for fires in (True, False)}


def test_each_alert_has_a_page_and_each_page_an_alert() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == ALERTS.keys()


@pytest.mark.parametrize("rule", ALERTS.values(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_where_it_is_told_of(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    page = REPOSITORY / rule["annotations"]["runbook"]
    assert page == PAGES / f"{rule['alert']}.md"
    for text in (rule["annotations"]["summary"], rule["annotations"]["description"]):
        assert text.endswith(".")
    row = f"| [{rule['alert']}](runbooks/{rule['alert']}.md) | {rule['labels']['severity']} | "
    assert row in TABLE


@pytest.mark.parametrize("name", ALERTS)
def test_a_page_says_what_to_do(name: str) -> None:
    text = (PAGES / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", text, re.M) == SECTIONS
    assert re.search(r"^    kubectl ", text, re.M)
