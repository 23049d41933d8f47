"""Dashboards and alerts ask for nothing that does not exist, and are told apart by people."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.harness import promql
from tests.harness.binaries import REPOSITORY
from tests.harness.promql import DASHBOARDS, Query

QUERIES = [*promql.of_dashboards(), *promql.of_alerts()]
UNITS = {"none", "s", "ops", "reqps", "percentunit", "bytes"}
"""Units as Grafana calls them."""


KNOWN = promql.of_operator() | promql.of_vllm()


def test_there_are_queries() -> None:
    assert len(QUERIES) > 40
    assert {path.name for path in DASHBOARDS} == {"operator.json", "serving.json"}


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.where)
def test_only_metrics_that_exist_are_asked_for_and_only_by_their_labels(query: Query) -> None:
    assert query.names
    assert promql.unknown(query, KNOWN) == set()


def test_queries_of_the_page_on_autoscaling_ask_for_what_exists() -> None:
    text = (REPOSITORY / "docs" / "tasks" / "autoscaling.md").read_text()
    found = re.findall(r"^ +(?:- )?(?:seriesQ|q)uery: '?(.+?)'?$", text, re.M)
    assert len(found) == 2
    assert [promql.unknown(Query("autoscaling.md", expr), KNOWN) for expr in found] == [set(), set()]


@pytest.mark.parametrize(
    ("expr", "names", "labels"),
    [
        (
            'sum by (le, a) (rate(x_bucket{b=~"y", c!="z{"}[5m])) / on (d) up',
            {"x_bucket", "up"},
            {"le", *"abcd"},
        ),
        ("absent(vllm:a_b) or time() - c > 2 * 90e6", {"vllm:a_b", "c"}, set()),
        ("histogram_quantile(0.9, y) and group_left_x", {"y", "group_left_x"}, set()),
        ('max(x{n=~"$namespace"}) + rate(y[$__rate_interval])', {"x", "y"}, {"n"}),
    ],
)
def test_names_and_labels_are_found(expr: str, names: set[str], labels: set[str]) -> None:
    query = Query("", expr)
    assert (query.names, query.labels) == (names, labels)


def panels() -> list[Any]:
    return [
        pytest.param(panel, id=f"{path.stem}: {panel['title']}")
        for path in DASHBOARDS
        for panel in promql.dashboard(path)["panels"]
    ]


@pytest.mark.parametrize("panel", panels())
def test_a_panel_says_what_it_shows_and_in_which_unit(panel: dict[str, Any]) -> None:
    assert re.fullmatch(r"[A-Z].{2,}", panel["title"])
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    place = panel["gridPos"]
    assert place["x"] + place["w"] <= 24
    for target in panel["targets"]:
        assert target["datasource"] == panel["datasource"]
        # What is drawn as several lines has a name for each.
        assert panel["type"] == "stat" or target["legendFormat"]
        for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
            assert label in Query("", target["expr"]).labels


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_a_dashboard_is_whole(path: Path) -> None:
    board = promql.dashboard(path)
    assert board["schemaVersion"] >= 39
    assert "id" not in board, "Grafana gives numbers; the uid is ours"
    variables = {each["name"]: each for each in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    used = set(re.findall(r"\$\{?([a-z]+)", path.read_text()))
    assert used == variables.keys()
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places)


def test_each_dashboard_has_a_uid_and_a_title_of_its_own() -> None:
    boards = [promql.dashboard(path) for path in DASHBOARDS]
    for key in ("uid", "title"):
        assert len({board[key] for board in boards}) == len(boards)


def variable_queries() -> list[Query]:
    """What Grafana asks for the values of a variable: the metric and the label of label_values()."""
    found = []
    for path in DASHBOARDS:
        for variable in promql.dashboard(path)["templating"]["list"]:
            if variable["type"] == "query":
                text = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
                assert text, variable["query"]
                found.append(Query(f"{path.name}: {variable['name']}", f"sum by ({text[2]}) ({text[1]})"))
    return found


@pytest.mark.parametrize("query", variable_queries(), ids=lambda query: query.where)
def test_variables_ask_for_what_exists(query: Query) -> None:
    assert promql.unknown(query, KNOWN) == set()
