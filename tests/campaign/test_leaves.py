"""Every leaf of the schema has an effect: where it is told, what it is told, and nothing else."""

from typing import Any

import pytest
import yaml

from tests.campaign import fields, fp8, gaudi, microservice, placement
from tests.campaign.lanes import Outcomes, chosen, play_all
from tests.cases.schemas import places
from tests.harness.binaries import REPOSITORY
from tests.harness.operator import Cluster, OperatorProcess

LANES = {"cpu": 3, "gaudi": 1, "fp8": 1, "microservice": 1}
"""Servers that rows of a base share; those on Gaudi take two or four of sixteen cards each."""
ALL = [*fields.rows(), *placement.rows(), *gaudi.rows(), *fp8.rows(), *microservice.rows()]
ROWS = {row.name: row for row in ALL}


def schema() -> dict[str, Any]:
    """The spec's schema, as it is installed."""
    (crd,) = (each for each in yaml.safe_load_all((REPOSITORY / "crds/vllmservers.yaml").read_text()) if each)
    whole = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    spec: dict[str, Any] = whole["properties"]["spec"]
    return spec


NODES = {path: optional for path, _, optional in places(schema())}
LEAVES = [path for path, is_leaf, _ in places(schema()) if is_leaf]


@pytest.mark.parametrize("count", [f"{len(LEAVES)} leaves, {len(ROWS)} rows"])
def test_every_leaf_has_a_row_and_every_row_a_leaf(count: str) -> None:
    told = {row.leaf for row in ROWS.values()}
    assert set(LEAVES) - told == set()
    assert told - set(NODES) == set()
    assert len(ROWS) == len(ALL), "two rows are the same"


def test_every_optional_leaf_is_taken_away_too() -> None:
    taken = set().union(*(row.removed for row in ROWS.values()))
    kept = {
        leaf
        for leaf in LEAVES
        if NODES[leaf]
        and not any(leaf == node or leaf.startswith((f"{node}.", f"{node}[")) for node in taken)
    }
    # One half of the cache takes the other's place; without a number of replicas there is one.
    assert kept == {"spec.replicas", "spec.cache.claimName", "spec.cache.size"}


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, furnished: Cluster, shared: OperatorProcess) -> Outcomes:
    """What is wrong with each row: all that were chosen are played before the first is judged."""
    return play_all(furnished.kubeconfig, [ROWS[name] for name in chosen(request, "row")], LANES)


@pytest.mark.parametrize("row", ROWS)
def test_a_leaf_has_its_effect(outcomes: Outcomes, row: str) -> None:
    if outcomes[row]:
        pytest.fail(f"{ROWS[row]}\n{outcomes[row]}", pytrace=False)


def test_the_way_back_to_the_base_is_open(outcomes: Outcomes) -> None:
    back = {name: outcome for name, outcome in outcomes.items() if name not in ROWS}
    assert len(back) == sum(LANES.values())
    assert {name: outcome for name, outcome in back.items() if outcome} == {}
