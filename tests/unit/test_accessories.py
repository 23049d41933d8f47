"""What no pod depends on: an autoscaler and a PodMonitor, and what is said of them."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.things import DEFAULT, child, deployment, kinds, observed, pod, server, target
from vllm_operator.api.observed import AutoscalerFacts, Observed, Said
from vllm_operator.api.reasons import Reason
from vllm_operator.api.seen import Refusal
from vllm_operator.controller.facts import child as facts_of
from vllm_operator.desired.server import basis, desired, superfluous
from vllm_operator.status.accessories import autoscaled, monitored
from vllm_operator.status.conditions import Verdict
from vllm_operator.status.server import judge, judge_blocked

SCALED: dict[str, Any] = {"autoscaling": {"maxReplicas": 4}}
MONITORED: dict[str, Any] = {"monitoring": {"podMonitor": {}}}
READY = Verdict(True, Reason.SERVING, "serves")
STARTS = Verdict(False, Reason.WARMING_UP, "warms up")
MISSING = Refusal(Reason.POD_MONITOR_NOT_INSTALLED, "no such kind")
NOW = "2026-01-02T03:04:05Z"
UNABLE = Said("False", "FailedUpdateScale", "the update was refused.")
NO_METRIC = Said("False", "FailedGetPodsMetric", "no custom metrics API registered")


def autoscaler(able: Said | None = None, active: Said | None = None, **facts: Any) -> AutoscalerFacts:
    plain = child("HorizontalPodAutoscaler", "chat")
    common = {name: getattr(plain, name) for name in plain.__dataclass_fields__}
    return AutoscalerFacts(**common | facts, able=able, active=active)


def seen(able: Said | None = None, active: Said | None = None, **facts: Any) -> Observed:
    return observed(server(SCALED), autoscaler(able, active), deployment(**facts), pods=[pod()])


def made(of: Observed) -> dict[str, Any]:
    return kinds(desired(of, DEFAULT).manifests)


@pytest.mark.parametrize(
    "spec", [{}, {"monitoring": {}}, {"autoscaling": None}, {"monitoring": {"podMonitor": None}}]
)
def test_who_asks_for_nothing_gets_nothing(spec: dict[str, Any]) -> None:
    of = observed(server(spec))
    assert not {"HorizontalPodAutoscaler", "PodMonitor"} & set(made(of))
    assert autoscaled(of, READY) is None
    assert monitored(of) is None


def test_they_change_no_record() -> None:
    plain, both = observed(server()), observed(server(SCALED | MONITORED))
    assert desired(plain, DEFAULT).target == desired(both, DEFAULT).target
    records = [made(of)["ControllerRevision"] for of in (plain, both)]
    assert records[0] == records[1]


def test_a_kind_that_is_not_there_is_not_asked_for() -> None:
    of = observed(server(MONITORED))
    without = replace(of, refused={"PodMonitor": MISSING})
    assert "PodMonitor" in made(of)
    assert "PodMonitor" not in made(without)
    assert basis(of) != basis(without)


def test_what_is_not_wanted_goes_at_once() -> None:
    """Also while a revision is rolled out: nothing that runs depends on it."""
    old = [child(kind, "chat") for kind in ("HorizontalPodAutoscaler", "PodMonitor", "PodDisruptionBudget")]
    of = observed(server(), *old, deployment(progressing="ReplicaSetUpdated"))
    gone = {found.kind for found in superfluous(of, set(), target())}
    assert gone == {"HorizontalPodAutoscaler", "PodMonitor"}
    unknown = replace(of, refused={"PodMonitor": MISSING})
    assert {found.kind for found in superfluous(unknown, set(), target())} == {"HorizontalPodAutoscaler"}


def test_a_stranger_of_that_name_does_not_go() -> None:
    of = observed(server(), child("HorizontalPodAutoscaler", "chat", owner=None))
    assert superfluous(of, set(), target()) == ()


SAID: dict[str, tuple[Observed, Verdict, Reason | None, bool, str]] = {
    "nothing yet": (seen(), READY, None, False, ""),
    "not made yet": (observed(server(SCALED), deployment()), READY, None, False, ""),
    "it works": (
        seen(Said("True", "ReadyForNewScale", ""), Said("True", "ValidMetricFound", "the HPA was able")),
        *(READY, Reason.AUTOSCALING, True, "From 1 to 4 replicas, by vllm:num_requests_waiting"),
    ),
    "no metric": (
        seen(None, NO_METRIC),
        *(READY, Reason.METRIC_UNAVAILABLE, False),
        "as it is: no custom metrics API registered. Prometheus must scrape the pods, and its adapter give "
        "the metric that name: `kubectl get --raw '/apis/custom.metrics.k8s.io/v1beta1/namespaces/ns/pods/*/"
        "vllm:num_requests_waiting'`",
    ),
    "no pod tells it yet": (
        seen(None, NO_METRIC, ready_replicas=0),
        *(STARTS, Reason.WARMING_UP, False, "No pod answers, and so none tells vllm:num_requests_waiting"),
    ),
    "suspended": (
        seen(None, Said("False", "ScalingDisabled", "scaling is disabled"), wanted_replicas=0),
        *(READY, Reason.SUSPENDED, False, "`kubectl -n ns scale vllm/chat --replicas=1`"),
    ),
    "it may not scale": (
        seen(UNABLE, NO_METRIC),
        *(READY, Reason.SCALING_FAILED, False),
        "spec.replicas: the update was refused. Mend what it names: `kubectl -n ns describe hpa chat`",
    ),
    "two of them": (
        seen(None, Said("False", "AmbiguousSelector", "pods by selector are controlled by multiple HPAs")),
        *(READY, Reason.SCALING_FAILED, False, "controlled by multiple HPAs"),
    ),
    "refused": (
        replace(seen(), refused={"HorizontalPodAutoscaler": Refusal(Reason.CHILD_REJECTED, "a quota")}),
        *(READY, Reason.CHILD_REJECTED, False, "a quota"),
    ),
    "a stranger": (
        observed(server(SCALED), autoscaler(UNABLE, NO_METRIC, owner="other"), deployment()),
        *(READY, None, False, ""),
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_what_is_said_of_an_autoscaler(case: str) -> None:
    of, readiness, reason, good, words = SAID[case]
    verdict = autoscaled(of, readiness)
    if reason is None:
        assert verdict is None
        return
    assert verdict is not None
    assert (verdict.reason, verdict.ready) == (reason, good)
    assert words in verdict.message


def test_what_is_said_of_a_pod_monitor() -> None:
    of = observed(server(MONITORED), child("PodMonitor", "chat"))
    there = monitored(of)
    assert there is not None
    assert (there.ready, there.reason) == (True, Reason.MONITORED)
    missing = monitored(replace(of, refused={"PodMonitor": MISSING}))
    assert missing == Verdict(False, *MISSING)
    assert monitored(observed(server(MONITORED))) is None
    assert monitored(observed(server(MONITORED), child("PodMonitor", "chat", owner="other"))) is None


def test_ready_asks_nobody_of_them() -> None:
    plain = observed(server(SCALED | MONITORED), deployment(), pods=[pod()])
    troubled = replace(
        plain,
        refused={"PodMonitor": MISSING},
        children={**plain.children, ("HorizontalPodAutoscaler", "chat"): autoscaler(UNABLE)},
    )
    for of in (plain, troubled):
        status = judge(of, target(), previous={}, now=NOW)
        told = {each.type: each.status for each in status.conditions or ()}
        assert told["Ready"] == told["Available"] == "True"
        assert "Stalled" not in told
    assert (told["Autoscaled"], told["Monitored"]) == ("False", "False")
    blocked = judge_blocked(troubled, Verdict(False, Reason.PAUSED, "a", stalled=True), previous={}, now=NOW)
    assert {"Autoscaled", "Monitored"} <= {each.type for each in blocked.conditions or ()}


def test_facts_of_an_autoscaler() -> None:
    said = [
        {"type": "AbleToScale", "status": "True", "reason": "a", "message": "b"},
        {"type": "ScalingActive", "status": "False"},
        {"type": "ScalingLimited", "status": "True", "reason": "TooManyReplicas"},
    ]
    metadata = {"name": "chat", "namespace": "ns", "uid": "u", "resourceVersion": "7"}
    found = facts_of("HorizontalPodAutoscaler", {"metadata": metadata, "status": {"conditions": said}})
    assert isinstance(found, AutoscalerFacts)
    assert (found.able, found.active) == (Said("True", "a", "b"), Said("False", "", ""))
    fresh = facts_of("HorizontalPodAutoscaler", {"metadata": metadata})
    assert isinstance(fresh, AutoscalerFacts)
    assert (fresh.able, fresh.active) == (None, None)
