"""Dashboards and alerts of the chart, and the metrics that their queries speak of."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from tests.harness.binaries import REPOSITORY, find_binary
from vllm_operator.controller.metrics import Metrics
from vllm_operator.controller.store import Store
from vllm_operator.controller.workqueue import WorkQueue

CHART = REPOSITORY / "charts" / "vllm-operator"
DASHBOARDS = sorted((CHART / "dashboards").glob("*.json"))
ALERTS = CHART / "alerts.yaml"
OF_VLLM = REPOSITORY / "tests" / "data" / "vllm-0.32.0-metrics.txt"
MONITORED = REPOSITORY / "tests" / "golden" / "autoscaled-and-monitored" / "children.yaml"
OF_TARGETS = frozenset({"job", "instance", "namespace", "pod"})
"""Labels of every target, by a PodMonitor, by a ServiceMonitor, and by the scrape configurations of docs/."""

_SUFFIXES = {
    "counter": ("", "_created"),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "summary": ("", "_sum", "_count", "_created"),
}
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_GROUPED = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_WORDS = frozenset({"and", "or", "unless", "bool", "offset", "Inf", "NaN"})
_VARIABLES = {"$__rate_interval": "5m", "$__range": "1h", "$namespace": "chat", "$server": "chat"}
"""Variables of Grafana, its own and those of the dashboards, each with a value."""


@dataclass(frozen=True)
class Series:
    """A metric, or one of the series of it that may be asked for."""

    name: str
    labels: frozenset[str]


@dataclass(frozen=True)
class Query:
    """An expression of a dashboard or an alert, and where it stands."""

    where: str
    expr: str

    @property
    def filled(self) -> str:
        """The expression with a value for each variable. Raises KeyError for an unknown one."""
        return re.sub(r"\$\w+", lambda found: _VARIABLES[found[0]], self.expr)

    @property
    def names(self) -> set[str]:
        """The names of the series that it asks for."""
        text = _GROUPED.sub(" ", re.sub(r"\{[^{}]*\}|\[[^\]]*\]", " ", _QUOTED.sub('""', self.filled)))
        words = re.findall(r"(?<![\w:.])[a-zA-Z_:][\w:]*(?!\s*\()(?![\w:])", text)
        return {word for word in words if word not in _WORDS}

    @property
    def labels(self) -> set[str]:
        """The labels by which it selects and groups."""
        text = _QUOTED.sub('""', self.filled)
        selected = re.findall(r"(\w+)\s*(?:=|!=|=~|!~)\s*\"\"", text)
        grouped = [label for group in _GROUPED.findall(text) for label in re.findall(r"\w+", group)]
        return {*selected, *grouped}


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run promtool, whatever comes of it."""
    command = [find_binary("promtool"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def dashboard(path: Any) -> dict[str, Any]:
    """Return a dashboard."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def of_dashboards() -> Iterator[Query]:
    """Return the queries of all panels of all dashboards."""
    for path in DASHBOARDS:
        for panel in dashboard(path)["panels"]:
            for target in panel["targets"]:
                yield Query(f"{path.name}: {panel['title']} {target['refId']}", target["expr"])


def alerts() -> list[dict[str, Any]]:
    """Return all alerts."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def of_alerts() -> Iterator[Query]:
    """Return the queries of all alerts."""
    for rule in alerts():
        yield Query(rule["alert"], rule["expr"])


def forms(name: str, kind: str, labels: frozenset[str]) -> Iterator[Series]:
    """Return the series that a metric of a type has, by which its values are asked for."""
    for suffix in _SUFFIXES.get(kind, ("",)):
        base = name.removesuffix("_total") if suffix == "_created" else name
        yield Series(base + suffix, labels | {"le"} if suffix == "_bucket" else labels)


def of_servers() -> frozenset[str]:
    """Return the labels that Prometheus puts on what it scrapes by a PodMonitor of ours.

    The Prometheus Operator adds those of podTargetLabels that a pod has, with `_` for what no name of a label
    may hold (pkg/prometheus/promcfg.go of 0.93.0, generatePodMonitorConfig).
    """
    children = {
        each["kind"]: each["spec"] for each in yaml.safe_load_all(MONITORED.read_text()) if "spec" in each
    }
    pod = children["Deployment"]["template"]["metadata"]["labels"]
    asked = children["PodMonitor"].get("podTargetLabels", [])
    return OF_TARGETS | {re.sub(r"[^a-zA-Z0-9_]", "_", label) for label in asked if label in pod}


def of_operator() -> dict[str, Series]:
    """Return all series of the operator as the chart's ServiceMonitor gives them, by their names."""
    metrics, store = Metrics(), Store()
    metrics.look_at(WorkQueue(), store, lambda: True)
    metrics.requested("GET", "200")
    said = {
        "type": "Ready",
        "status": "True",
        "reason": "Serving",
        "lastTransitionTime": "2026-01-02T03:04:05Z",
    }
    metadata = {"name": "a", "namespace": "ns", "uid": "a", "resourceVersion": "1"}
    store.see("VLLMServer", {"metadata": metadata, "spec": {}, "status": {"conditions": [said]}})
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    return {each.name: Series(each.name, OF_TARGETS | each.labels.keys()) for each in samples}


def of_vllm() -> dict[str, Series]:
    """Return all series of a server as its PodMonitor gives them, by their names."""
    found: dict[str, Series] = {}
    put_on = of_servers()
    for line in OF_VLLM.read_text().splitlines():
        if line.startswith("#"):
            continue
        name, kind, *labels = line.split()
        own = frozenset(labels[0].split(",")) if labels else frozenset()
        found |= {series.name: series for series in forms(name, kind, put_on | own)}
    return found


def unknown(query: Query, known: Mapping[str, Series]) -> set[str]:
    """Return the series of a query that nobody gives, or else the labels that none of its series has."""
    labels = (known[name].labels for name in query.names & known.keys())
    return query.names - known.keys() or query.labels.difference(*labels)
