"""The children of a microservice, what pins their template, and what is said of it."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.things import DEFAULT, child, deployment, kinds, observed, record_of, server
from vllm_operator.api.observed import MicroserviceRecord, Observed
from vllm_operator.api.reasons import StalledError
from vllm_operator.api.seen import Child, Manifest
from vllm_operator.controller.facts import child as facts_of
from vllm_operator.desired.defaults import Defaults
from vllm_operator.desired.server import basis, desired, superfluous
from vllm_operator.status.server import judge, judge_blocked

OPERATOR = "registry.example/operator:v1"
NEWER = "registry.example/operator:v2"


def of(image: str = OPERATOR) -> Defaults:
    return replace(DEFAULT, microservice_image=image)


def made(seen: Observed, defaults: Defaults | None = None) -> dict[str, Manifest]:
    return kinds(desired(seen, defaults or of()).manifests)


def with_one(spec: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"microservice": {"enabled": True, **(spec or {})}, **more}


def recorded(manifest: Manifest) -> MicroserviceRecord:
    metadata = manifest["metadata"] | {
        "uid": f"uid-of-{manifest['metadata']['name']}",
        "resourceVersion": "1",
    }
    found = facts_of("ControllerRevision", manifest | {"metadata": metadata})
    assert isinstance(found, MicroserviceRecord)
    return found


def container(manifest: Manifest) -> dict[str, Any]:
    (one,) = manifest["spec"]["template"]["spec"]["containers"]
    assert isinstance(one, dict)
    return one


def test_it_is_made_only_where_it_is_asked_for() -> None:
    assert not [kind for kind in made(observed(server())) if kind.startswith("microservice")]
    found = [kind for kind in made(observed(server(with_one()))) if kind.startswith("microservice")]
    assert found == [f"microservice {kind}" for kind in ("ControllerRevision", "Service", "Deployment")]
    assert "microservice PodDisruptionBudget" in made(observed(server(with_one({"replicas": 2}))))


def test_it_asks_the_server_by_its_service_and_its_first_name() -> None:
    spec = with_one(model={"name": "org/model", "servedNames": ["$(A)", "b"]}, service={"port": 81})
    variables = {
        e["name"]: e["value"]
        for e in container(made(observed(server(spec)))["microservice Deployment"])["env"]
    }
    assert variables["LLM_MODEL_SERVER_ENDPOINT"] == "http://chat.ns.svc:81"
    assert variables["LLM_MODEL_NAME"] == "$$(A)"


def test_its_pods_are_none_of_the_server() -> None:
    """They hold no cache: neither a prefetch beside the server's pods nor its Service may find them."""
    found = made(observed(server(with_one())))
    labels = found["microservice Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert not found["Service"]["spec"]["selector"].items() <= labels.items()
    assert "vllm-operator.dev/server" not in labels
    assert found["microservice Service"]["spec"]["selector"].items() <= labels.items()


def test_a_new_operator_rolls_none_of_its_pods() -> None:
    first = made(observed(server(with_one())))
    seen = observed(
        server(with_one()),
        record_of(first["ControllerRevision"]),
        recorded(first["microservice ControllerRevision"]),
    )
    upgraded = desired(seen, of(NEWER))
    found = kinds(upgraded.manifests)
    assert "microservice ControllerRevision" not in found
    assert (
        found["microservice Deployment"]["spec"]["template"]
        == first["microservice Deployment"]["spec"]["template"]
    )
    assert upgraded.target.refresh_available
    assert not desired(seen, of()).target.refresh_available


def test_a_refresh_takes_the_image_of_the_new_operator() -> None:
    first = made(observed(server(with_one())))
    asked = server(with_one(rollout={"refresh": "2"}))
    seen = observed(asked, recorded(first["microservice ControllerRevision"]))
    assert container(made(seen, of(NEWER))["microservice Deployment"])["image"] == NEWER


def test_a_template_of_another_renderer_is_something_to_take() -> None:
    first = made(observed(server(with_one())))["microservice ControllerRevision"]
    older = first | {"data": first["data"] | {"renderer": "older", "template": {"spec": {}}}}
    assert desired(observed(server(with_one()), recorded(older)), of()).target.refresh_available
    same = first | {"data": first["data"] | {"renderer": "older"}}
    assert not desired(observed(server(with_one()), recorded(same)), of()).target.refresh_available


def test_it_is_there_while_the_server_cannot_be() -> None:
    prefetching = made(observed(server(with_one(prefetch=True))))
    assert "Deployment" not in prefetching
    assert "microservice Deployment" in prefetching


def test_another_manager_may_scale_it() -> None:
    scaled = deployment(name="chat-llm", replicas_manager="kubectl", wanted_replicas=5)
    assert "replicas" not in made(observed(server(with_one()), scaled))["microservice Deployment"]["spec"]
    back = replace(scaled, wanted_replicas=1)
    assert made(observed(server(with_one()), back))["microservice Deployment"]["spec"]["replicas"] == 1
    assert basis(observed(server(with_one()), scaled)) != basis(observed(server(with_one()), back))


def names(children: tuple[Child, ...]) -> set[str]:
    return {each.name for each in children}


def pruned(spec: dict[str, Any], *children: Child) -> set[str]:
    seen = observed(server(spec), *children)
    wanted = desired(seen, of())
    refs = {(m["kind"], m["metadata"]["name"]) for m in wanted.manifests}
    return names(superfluous(seen, refs, wanted.target))


def test_all_of_it_goes_when_it_is_switched_off() -> None:
    first = recorded(made(observed(server(with_one())))["microservice ControllerRevision"])
    kinds_of = ("Service", "PodDisruptionBudget")
    there = [deployment(name="chat-llm"), *(child(kind, "chat-llm") for kind in kinds_of), first]
    assert pruned(with_one(), *there[:2], first) == set()
    assert pruned({}, *there) == {"chat-llm", first.name}
    assert pruned({}, child("Service", "chat"), child("Service", "chat-llm", owner="another")) == set()


def test_old_records_go_once_a_template_is_rolled_out() -> None:
    old = recorded(made(observed(server(with_one())), of(NEWER))["microservice ControllerRevision"])
    new = recorded(
        made(observed(server(with_one({"connector": "langchain"}))))["microservice ControllerRevision"]
    )
    new = replace(new, revision=2)
    digest = new.name.rpartition("-")[2]
    spec = with_one({"connector": "langchain"})
    rolling = deployment(name="chat-llm", record=digest, progressing="ReplicaSetUpdated")
    assert pruned(spec, old, new, rolling) == set()
    assert pruned(spec, old, new, deployment(name="chat-llm", record=digest)) == {old.name}


def said(seen: Observed) -> tuple[str, str, str]:
    status = judge(seen, desired(seen, of()).target, previous={}, now="2026-01-01T00:00:00Z")
    (found,) = (c for c in status.conditions or () if c.type == "MicroserviceReady")
    return found.status, found.reason, found.message


@pytest.mark.parametrize(
    ("facts", "status", "reason", "words"),
    [
        ({}, "True", "Serving", "http://chat-llm.ns.svc:9000/v1/chat/completions"),
        (
            {"ready_replicas": 0},
            "False",
            "RollingOut",
            "`kubectl -n ns get pods -l vllm-operator.dev/microservice=chat`",
        ),
        ({"ready_replicas": 0, "failure": "exceeded quota"}, "False", "ChildRejected", "exceeded quota"),
        ({"observed_generation": 0}, "False", "RollingOut", "Waiting for the Deployment controller"),
        ({"wanted_replicas": 0, "ready_replicas": 0}, "False", "Suspended", "scaled to 0"),
    ],
)
def test_what_is_said_of_it(facts: dict[str, Any], status: str, reason: str, words: str) -> None:
    aimed = desired(observed(server(with_one())), of()).target.microservice
    seen = observed(server(with_one()), deployment(name="chat-llm", record=aimed, **facts))
    found = said(seen)
    assert found[:2] == (status, reason)
    assert words in found[2]


def test_it_is_ready_once_the_template_asked_for_is_rolled_out() -> None:
    """Old pods answer on while a quota, or a bad image, keeps the new ones from coming."""
    seen = observed(server(with_one()), deployment(name="chat-llm", record="another"))
    assert said(seen)[:2] == ("False", "RollingOut")
    refused = observed(server(with_one()), deployment(name="chat-llm", record="another", failure="quota"))
    assert said(refused)[:2] == ("False", "ChildRejected")


def test_the_account_stays_while_pods_of_it_may_need_it() -> None:
    own = with_one(serviceAccountName="own")
    there = [child("ServiceAccount", "chat-vllm"), deployment()]
    target = desired(observed(server(own), *there), of()).target
    rolled = [there[0], deployment(record=target.record)]
    seen = observed(server(own), *rolled)
    assert names(superfluous(seen, set(), target)) == set()
    without = observed(server({"serviceAccountName": "own"}), *rolled)
    assert names(superfluous(without, set(), target)) == {"chat-vllm"}


def test_it_decides_nothing_of_the_server() -> None:
    seen = observed(server(with_one()), deployment(), deployment(name="chat-llm", ready_replicas=0))
    status = judge(seen, desired(seen, of()).target, previous={}, now="2026-01-01T00:00:00Z")
    assert {c.type for c in status.conditions or () if c.status == "True"} >= {"Available"}
    assert (status.replicas, status.ready_replicas) == (1, 1)


def test_it_is_told_of_where_the_server_cannot_be_made() -> None:
    seen = observed(server(with_one(extraArgs=["--nope"])), deployment(name="chat-llm"))
    with pytest.raises(StalledError) as refused:
        desired(seen, of())
    from vllm_operator.controller.outcome import verdict

    status = judge_blocked(seen, verdict(refused.value), previous={}, now="2026-01-01T00:00:00Z")
    assert [c.status for c in status.conditions or () if c.type == "MicroserviceReady"] == ["True"]


PEERS = {"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}


def test_an_image_that_is_not_allowed_holds_up_nothing_but_it() -> None:
    first = made(observed(server(with_one())))["microservice ControllerRevision"]
    there = [deployment(name="chat-llm"), child("NetworkPolicy", "chat-llm"), recorded(first)]
    spec = with_one({"image": "registry.evil.example/op:v1"}, networkPolicy=PEERS)
    seen = observed(server(spec), *there)
    allowed = replace(of(), allowed_images=("registry.example",))
    wanted = desired(seen, allowed)
    assert kinds(wanted.manifests).keys() >= {"Deployment", "Service"}
    assert not [kind for kind in kinds(wanted.manifests) if kind.startswith("microservice")]
    refs = {(m["kind"], m["metadata"]["name"]) for m in wanted.manifests}
    assert names(superfluous(seen, refs, wanted.target)) == set()
    told = judge(
        replace(seen, refused=wanted.refused), wanted.target, previous={}, now="2026-01-01T00:00:00Z"
    )
    (found,) = (c for c in told.conditions or () if c.type == "MicroserviceReady")
    assert (found.status, found.reason) == ("False", "ImageNotAllowed")
    assert found.message.startswith("spec.microservice.image: registry.evil.example/op:v1 is not allowed")


def test_it_answers_nobody_who_may_not_ask_the_server() -> None:
    found = made(observed(server(with_one(networkPolicy=PEERS))))
    policy = found["microservice NetworkPolicy"]["spec"]
    assert policy["podSelector"]["matchLabels"] == found["microservice Service"]["spec"]["selector"]
    assert policy["ingress"] == [{"from": PEERS["from"], "ports": [{"port": 9000, "protocol": "TCP"}]}]
    assert policy["policyTypes"] == ["Ingress"]
    # And it itself may ask.
    peers = found["NetworkPolicy"]["spec"]["ingress"][0]["from"]
    assert peers[1:] == [{"podSelector": {"matchLabels": found["microservice Service"]["spec"]["selector"]}}]
    assert pruned(with_one(networkPolicy=PEERS), child("NetworkPolicy", "chat-llm")) == set()
    assert pruned(with_one(), child("NetworkPolicy", "chat-llm")) == {"chat-llm"}


def test_it_has_no_key_of_the_server() -> None:
    """Whoever reaches it would have the model without one: a client's own key is passed on."""
    key = {"apiKeySecretRef": {"name": "key"}}
    found = made(observed(server(with_one(**key))))
    assert "VLLM_API_KEY" in {each["name"] for each in container(found["Deployment"])["env"]}
    of_it = container(found["microservice Deployment"])["env"]
    assert not [each for each in of_it if "valueFrom" in each or "KEY" in each["name"]]
