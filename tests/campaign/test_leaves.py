"""Every leaf of the schema has an effect: where it is told, what it is told, and nothing else."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.campaign import fields, placement
from tests.campaign.lanes import Outcomes, play_all
from tests.campaign.table import Row
from tests.harness.binaries import REPOSITORY
from tests.harness.operator import Cluster, OperatorProcess

LANES = 3
ROWS = {row.name: row for row in [*fields.rows(), *placement.rows()]}


def schema() -> dict[str, Any]:
    """The spec's schema, as it is installed."""
    (crd,) = (each for each in yaml.safe_load_all((REPOSITORY / "crds/vllmservers.yaml").read_text()) if each)
    whole = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    spec: dict[str, Any] = whole["properties"]["spec"]
    return spec


def leaves(node: dict[str, Any], path: str, optional: bool) -> Iterator[tuple[str, bool]]:
    """Every leaf below a node, and whether it, or what holds it, may be left out."""
    below = [
        (child, f"{path}.{name}", optional or name not in node.get("required", ()))
        for name, child in node.get("properties", {}).items()
    ]
    if "items" in node:
        below.append((node["items"], f"{path}[]", optional))
    if "additionalProperties" in node:
        below.append((node["additionalProperties"], f"{path}.*", True))
    for child, where, may_go in below:
        yield from leaves(child, where, may_go)
    if not below:
        yield path, optional


LEAVES = dict(leaves(schema(), "spec", False))
EMBEDDED = ("spec.affinity.", "spec.tolerations[].", "spec.topologySpreadConstraints[].")


@pytest.mark.parametrize("count", [f"{len(LEAVES)} leaves, {len(ROWS)} rows"])
def test_every_leaf_has_a_row_and_every_row_a_leaf(count: str) -> None:
    assert {row.leaf for row in ROWS.values()} == set(LEAVES)
    assert len(ROWS) == len([*fields.rows(), *placement.rows()]), "two rows are the same"


def test_every_optional_leaf_is_taken_away_too() -> None:
    taken = {row.leaf for row in ROWS.values() if row.removes}
    own = {leaf for leaf, optional in LEAVES.items() if optional and not leaf.startswith(EMBEDDED)}
    assert own - taken == set()


@pytest.fixture(scope="module")
def outcomes(furnished: Cluster, shared: OperatorProcess) -> Outcomes:
    """What is wrong with each row: all are played before the first is judged."""
    return play_all(furnished.api, list(ROWS.values()), LANES)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_a_leaf_has_its_effect(outcomes: Outcomes, row: Row) -> None:
    assert outcomes[row.name] == ""


def test_the_way_back_to_the_base_is_open(outcomes: Outcomes) -> None:
    back = {name: outcome for name, outcome in outcomes.items() if name not in ROWS}
    assert len(back) == LANES
    assert {name: outcome for name, outcome in back.items() if outcome} == {}
