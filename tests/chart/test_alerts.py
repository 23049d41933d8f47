"""The alerts fire when they should, and not else, in Prometheus' own rule engine; each has a page."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness import promql
from tests.harness.binaries import REPOSITORY
from tests.harness.helm import Values, only, render
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


def rendered(values: Values, *words: str) -> dict[str, dict[str, Any]]:
    """Return the alerts as the chart gives them out, by their names."""
    made = only(render({"prometheusRule.enabled": True, **values}, *words), "PrometheusRule")
    return {rule["alert"]: rule for group in made["spec"]["groups"] for rule in group["rules"]}


def test_an_operator_that_ends_beside_a_living_one_is_missed(tmp_path: Path) -> None:
    """Two releases, each with its alerts: that of the dead one's namespace fires, and no other."""
    name, files = "VLLMOperatorAbsent", []
    for namespace in ("a", "b"):
        rule = rendered({}, "--namespace", namespace)[name]
        del rule["annotations"]
        files.append(f"{namespace}.yaml")
        groups = [{"name": namespace, "rules": [rule]}]
        (tmp_path / files[-1]).write_text(yaml.safe_dump({"groups": groups}))
    series = [
        {"series": 'vllm_operator_build_info{namespace="a"}', "values": "1x30"},
        {"series": 'vllm_operator_build_info{namespace="b"}', "values": "1x5 stale"},
    ]
    fires = {"exp_labels": {"severity": "critical", "namespace": "b"}}
    case = {"eval_time": "20m", "alertname": name, "exp_alerts": [fires]}
    test = {"interval": "1m", "input_series": series, "alert_rule_test": [case]}
    (tmp_path / "cases.yaml").write_text(yaml.safe_dump({"rule_files": files, "tests": [test]}))
    done = promtool("test", "rules", tmp_path / "cases.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_lead_to_where_the_runbooks_are() -> None:
    url = "https://git.example.com/vllm-operator/blob/main/docs/runbooks/{alert}.md"
    rules = rendered({"prometheusRule.runbookUrl": url})
    for name, rule in rules.items():
        assert rule["annotations"].pop("runbook_url") == url.replace("{alert}", name)
    assert rules == ALERTS


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
