"""The end state does not depend on history: a walk's last children are those of a fresh server."""

import difflib
from dataclasses import dataclass
from functools import partial

import pytest

from tests.campaign import masks
from tests.campaign.lanes import Outcomes, chosen, merged
from tests.campaign.view import NAME
from tests.campaign.walks import Walk, fresh
from tests.cluster import support
from tests.harness.api import Api
from tests.harness.audit import Audit
from tests.harness.operator import Cluster, OperatorProcess

SEEDS = range(1, 10)
PREFETCHING = {9}
"""Seeds of walks of a server that prefetches."""
STEPS = 25
LANES = 4


@dataclass
class Pair:
    """A walk that has come to its end, and a fresh server of the same spec."""

    walk: Walk
    beside: str
    """Namespace of the fresh one."""


def go(seed: int, pairs: dict[int, Pair], api: Api) -> Outcomes:
    """Go a walk to its end, and make its like."""
    walk = Walk(api, seed, prefetch=seed in PREFETCHING)
    said = ""
    try:
        for _ in range(STEPS):
            walk.step()
        server = walk.end()
        pairs[seed] = Pair(walk, fresh(api, server["spec"]))
    except AssertionError as error:
        said = "\n".join([*walk.steps, str(error)])
    return {str(seed): said}


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, furnished: Cluster, shared: OperatorProcess, audit_log: Audit
) -> Outcomes:
    """What is wrong with each walk: all are gone before the first is judged."""
    pairs: dict[int, Pair] = {}
    jobs = [partial(go, int(seed), pairs) for seed in chosen(request, "seed")]
    outcomes = merged(furnished.kubeconfig, jobs, LANES)
    for pair in pairs.values():
        for namespace in (pair.walk.namespace, pair.beside):
            support.wait_at_rest(audit_log, shared, namespace, still=1.0)
    return outcomes | {str(seed): compared(furnished.api, pair) for seed, pair in pairs.items()}


def compared(api: Api, pair: Pair) -> str:
    """How a walk's children differ from the fresh server's, and how it went; nothing where they do not."""
    states = [state(api, namespace) for namespace in (pair.walk.namespace, pair.beside)]
    if states[0] == states[1]:
        return ""
    lines = [["\n".join(found.values()).splitlines()] for found in states]
    shown = difflib.unified_diff(lines[0][0], lines[1][0], "walk", "fresh", lineterm="", n=8)
    return "\n".join([*pair.walk.steps, f"walk {list(states[0])}", f"fresh {list(states[1])}", *shown])


def state(api: Api, namespace: str) -> dict[str, str]:
    """A server's children and what is said of it, without what must differ."""
    found = masks.children(api, namespace)
    server = support.child(api, namespace, "VLLMServer", NAME)
    if "claimName" in server["spec"]["cache"]:
        found.pop(("PersistentVolumeClaim", f"{NAME}-cache"), None)  # once made, it outlives its use
    return masks.masked(found, namespace) | {"status": masks.said(server)}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_walk_ends_as_a_fresh_server(outcomes: Outcomes, seed: int) -> None:
    if outcomes[str(seed)]:
        pytest.fail(outcomes[str(seed)], pytrace=False)
