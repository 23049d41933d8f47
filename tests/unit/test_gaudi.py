"""Servers on Gaudi: cards, variables, nodes, and what they are refused."""

from typing import Any

import pytest

from tests.unit.things import DEFAULT, GAUDI_IMAGE, claim, kinds, observed, record, server
from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.config import InvalidSettingError, Settings
from vllm_operator.desired import records
from vllm_operator.desired.defaults import Defaults, Image
from vllm_operator.desired.server import desired

G3 = Defaults(DEFAULT.images, {"gaudi": "true"}, {"g3": {"generation": "3"}})


def template(spec: dict[str, Any] | None = None, defaults: Defaults = DEFAULT, **seen: Any) -> Any:
    found = observed(server({"device": "gaudi"} | (spec or {})), **seen)
    return kinds(desired(found, defaults).manifests)["Deployment"]["spec"]["template"]["spec"]


def container(spec: dict[str, Any] | None = None) -> Any:
    return template(spec)["containers"][0]


def variables(spec: dict[str, Any] | None = None) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container(spec)["env"]}


@pytest.mark.parametrize(
    ("tensor", "pipeline", "cards"), [(1, 1, "1"), (8, 1, "8"), (2, 2, "4"), (1, 2, "2")]
)
def test_as_many_cards_as_ranks(tensor: int, pipeline: int, cards: str) -> None:
    sizes = {"tensorParallelSize": tensor, "pipelineParallelSize": pipeline}
    resources = container(sizes | {"resources": {"limits": {"cpu": 4}}})["resources"]
    assert resources["limits"] == {"cpu": "4", "habana.ai/gaudi": cards}
    assert resources["requests"] == {"habana.ai/gaudi": cards}


def test_a_server_on_cpus_asks_for_no_card() -> None:
    assert "resources" not in template({"device": "cpu"})["containers"][0]


def test_huge_pages_are_limit_and_request() -> None:
    resources = container({"gaudi": {"hugepages2Mi": "9800Mi"}})["resources"]
    assert resources["limits"]["hugepages-2Mi"] == resources["requests"]["hugepages-2Mi"] == "9800Mi"


def test_shared_memory_is_larger() -> None:
    def shm(spec: dict[str, Any]) -> str:
        (volume,) = (each for each in template(spec)["volumes"] if each["name"] == "shm")
        return str(volume["emptyDir"]["sizeLimit"])

    assert (shm({}), shm({"device": "cpu"}), shm({"shmSize": "1Gi"})) == ("16Gi", "4Gi", "1Gi")


def test_sys_nice_is_the_only_capability_and_asked_for() -> None:
    assert container()["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    nice = container({"gaudi": {"sysNice": True}})["securityContext"]
    assert nice["capabilities"] == {"drop": ["ALL"], "add": ["SYS_NICE"]}
    assert nice["allowPrivilegeEscalation"] is False


def test_no_pod_chooses_its_cards_and_progress_comes_by_lines() -> None:
    found = variables()
    assert not {"HABANA_VISIBLE_DEVICES", "VLLM_CPU_OMP_THREADS_BIND"} & set(found)
    assert (found["VLLM_DEVELOPER_MODE"], found["PYTHONUNBUFFERED"]) == ("1", "1")


def test_a_gaudi_server_never_surges() -> None:
    spec = {"device": "gaudi", "cache": {"size": "1Gi", "accessModes": ["ReadWriteMany"]}}
    made = kinds(desired(observed(server(spec)), DEFAULT).manifests)
    assert made["Deployment"]["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_the_generation_decides_the_nodes() -> None:
    spec = {"gaudi": {"generation": "g3"}, "nodeSelector": {"a": "b"}}
    assert template(spec, G3)["nodeSelector"] == {"a": "b", "generation": "3"}
    with pytest.raises(StalledError, match="VLLM_OPERATOR_GAUDI_G3_NODES") as told:
        template(spec)
    assert told.value.reason == Reason.INVALID_FOR_ENGINE


def test_a_device_takes_no_image_that_was_pinned_for_another() -> None:
    pinned = record("a", 1, Image("cpu:1", "vllm 0.32"))
    assert records.image(observed(server({"device": "gaudi"}), pinned), DEFAULT) == (GAUDI_IMAGE, True)
    kept = record("a", 1, Image("gaudi:1", "vllm-gaudi 0.26"))
    assert records.image(observed(server({"device": "gaudi"}), kept), DEFAULT)[0].image == "gaudi:1"


@pytest.mark.parametrize(
    "knob", [{"dtype": "float16"}, {"dtype": "float32"}, {"kvCacheDtype": "fp8"}], ids=str
)
def test_what_the_plugin_would_take_for_another_is_refused(knob: dict[str, str]) -> None:
    with pytest.raises(StalledError, match=f"spec.engineArgs.{next(iter(knob))}: vllm-gaudi 0.26 on gaudi"):
        template({"engineArgs": knob})


RECIPES = {"warmup": {"recipeCache": {"enabled": True}}}


def test_graphs_that_differ_are_kept_apart() -> None:
    def folder(**spec: Any) -> str:
        return variables(RECIPES | spec)["PT_HPU_RECIPE_CACHE_CONFIG"].split(",")[0]

    same = folder()
    assert folder(replicas=3) == folder(podLabels={"a": "b"}) == same
    for gaudi in ({"sysNice": True}, {"hugepages2Mi": "2Gi"}, {"runtimeClassName": "habana"}):
        assert folder(gaudi=gaudi) == same
    for more in ({"timeoutSeconds": 600}, {"skip": True}, {"recipeCache": {"enabled": True, "size": "9Gi"}}):
        assert folder(warmup=RECIPES["warmup"] | more) == same
    assert (
        folder(model={"name": "org/model", "servedNames": ["one"], "hubEndpoint": "https://hub.example"})
        == same
    )
    others = (
        {"engineArgs": {"maxModelLen": 1024}},
        {"tensorParallelSize": 2},
        {"image": "other:1", "engine": {"family": "vllm-gaudi", "version": "0.26"}},
        {"model": {"name": "other/model"}},
    )
    assert len({same, *(folder(**spec) for spec in others)}) == 5
    assert same.startswith("/data/.cache/recipes/")


def test_graphs_are_kept_only_where_one_node_writes() -> None:
    given = RECIPES | {"cache": {"claimName": "weights"}}
    template(given, claim=claim(name="weights"))
    with pytest.raises(StalledError, match="claim weights is ReadWriteMany"):
        template(given, claim=claim(name="weights", access_modes=("ReadWriteMany",)))


def test_a_claim_that_only_one_pod_can_mount_is_refused() -> None:
    once = claim(name="weights", access_modes=("ReadWriteOncePod",))
    with pytest.raises(StalledError, match="Claim weights is ReadWriteOncePod") as told:
        template({"cache": {"claimName": "weights"}}, claim=once)
    assert told.value.reason == Reason.CACHE_NOT_SHAREABLE


def test_settings() -> None:
    environment = {
        "VLLM_OPERATOR_GAUDI_NODES": "gaudi=true, pool=a",
        "VLLM_OPERATOR_GAUDI_G3_NODES": "generation=3",
        "VLLM_OPERATOR_GAUDI_IMAGE": "own:1",
        "VLLM_OPERATOR_GAUDI_ENGINE": "vllm-gaudi 0.26.1",
        "VLLM_OPERATOR_READ_LOGS": "false",
    }
    read = Settings.read(environment)
    assert read.defaults.gaudi_nodes == {"gaudi": "true", "pool": "a"}
    assert read.defaults.generations == {"g3": {"generation": "3"}}
    assert read.defaults.images["gaudi"] == Image("own:1", "vllm-gaudi 0.26.1")
    assert read.read_logs is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GAUDI_NODES", "gaudi"),
        ("GAUDI_G2_NODES", "a=b=c"),
        ("GAUDI_ENGINE", "vllm 0.26"),
        ("GAUDI_IMAGE", "own:latest"),
        ("READ_LOGS", "yes"),
    ],
)
def test_settings_that_mean_nothing_are_refused(name: str, value: str) -> None:
    with pytest.raises(
        InvalidSettingError, match=f"^VLLM_OPERATOR_{name.replace('IMAGE', '(IMAGE|ENGINE)')}: "
    ):
        Settings.read({f"VLLM_OPERATOR_{name}": value})
