"""Every value of the chart does something, is documented, and is refused in any other form."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness.helm import CHART, KUBERNETES, Values, helm, only, render, template
from vllm_operator.config import DEFAULT_IMAGES, Settings

Json = dict[str, Any]

EVERYTHING: Json = yaml.safe_load((Path(__file__).parent / "everything.yaml").read_text())
DEFAULTS: Json = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: Json = json.loads((CHART / "values.schema.json").read_text())


def leaves(values: Json, schema: Json, path: str = "") -> Iterator[str]:
    """Paths of values, down to where the user's own words begin."""
    for name, value in values.items():
        child = schema["properties"][name]
        if isinstance(value, dict) and any(key in child.get("properties", {}) for key in value):
            yield from leaves(value, child, f"{path}{name}.")
        else:
            yield f"{path}{name}"


LEAVES = sorted(set(leaves(DEFAULTS, SCHEMA)))
GROUPS = sorted({leaf[: dot.start()] for leaf in LEAVES for dot in re.finditer("[.]", leaf)})


def at(values: Json, path: str) -> Any:
    for name in path.split("."):
        values = values[name]
    return values


# A tag is refused beside the digest.
OTHERS = {path: at(EVERYTHING, path) for path in LEAVES} | {"image.tag": "v9"}


@pytest.mark.parametrize("values", [[], ["--values", str(Path(__file__).parent / "everything.yaml")]])
def test_lint(values: list[str]) -> None:
    done = helm("lint", "--strict", str(CHART), "--kube-version", KUBERNETES, *values)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_value_is_documented_with_its_default() -> None:
    rows = re.findall(r"^\| `(.+?)` \| `(.*?)` \| (.+) \|$", (CHART / "README.md").read_text(), re.M)
    told = {path: (json.loads(default), meaning) for path, default, meaning in rows}
    assert sorted(told) == LEAVES
    for path, (default, meaning) in told.items():
        assert default == at(DEFAULTS, path), path
        assert len(meaning) > 10, path


def test_everything_holds_another_value_for_each() -> None:
    assert [path for path in LEAVES if OTHERS[path] == at(DEFAULTS, path)] == []


def schemas(node: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        if child is not False:
            yield from schemas(child, f"{path}/{name}")
    for child in (
        node.get("items"),
        node.get("additionalProperties"),
        *node.get("patternProperties", {}).values(),
    ):
        if isinstance(child, dict):
            yield from schemas(child, f"{path}/*")


def test_the_schema_is_closed_and_bounded() -> None:
    for path, schema in schemas(SCHEMA):
        if path == "/global":
            continue
        if schema["type"] == "object":
            assert "additionalProperties" in schema, path
            assert schema["additionalProperties"] is not True, path
        elif schema["type"] == "array":
            assert {"items", "maxItems"} <= set(schema), path
        elif schema["type"] == "string":
            assert {"maxLength", "pattern", "enum"} & set(schema), path


# What the rest of the chart needs of a value that is tried alone.
NEEDED: dict[str, Json] = {
    "serviceAccount.annotations": {"serviceAccount.create": True},
    "allowedImages": {"defaultImages": EVERYTHING["defaultImages"]},
    "defaultImages.cpu.image": {"defaultImages.cpu.engine": "vllm 0.32"},
    "defaultImages.gaudi.image": {"defaultImages.gaudi.engine": "vllm-gaudi 0.26"},
    **{
        path: {f"{path.split('.')[0]}.enabled": True}
        for path in LEAVES
        if path.split(".")[0] in ("networkPolicy", "serviceMonitor", "prometheusRule", "grafanaDashboards")
    },
}


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart with an alert and a dashboard of the tests' own."""
    copy = tmp_path_factory.mktemp("charts") / "vllm-operator"
    shutil.copytree(CHART, copy, ignore=shutil.ignore_patterns("dashboards", "alerts.yaml"))
    annotations = {"summary": "{{ $labels.pod }} at {{ $value }}"}
    rule = {"alert": "Down", "expr": "up == 0", "annotations": annotations}
    (copy / "alerts.yaml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": [rule]}]}))
    (copy / "dashboards").mkdir()
    (copy / "dashboards" / "operator.json").write_text('{"title": "{{instance}}",\n "panels": []}\n')
    return copy


@pytest.mark.parametrize("path", LEAVES)
def test_every_value_changes_what_is_rendered(path: str, chart: Path) -> None:
    needed = NEEDED.get(path, {})
    without = render(needed if path not in needed else {}, chart=chart)
    assert render({**needed, path: OTHERS[path]}, chart=chart) != without


def environment(values: Values) -> dict[str, str]:
    container = only(render(values), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


def test_what_the_chart_sets_is_no_extra_variable() -> None:
    """All that Settings.read knows and the chart sets, by the value that is to be used instead."""
    container = only(render(EVERYTHING), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    extra = {each["name"] for each in EVERYTHING["extraEnv"]}
    names = {each["name"] for each in container["env"]} - extra
    assert len(names) > 10
    for name in (*names, "VLLM_OPERATOR_LEASE_NAMESPACE"):
        done = template({"extraEnv": [{"name": "A", "value": "1"}, {"name": name, "value": "1"}]})
        assert done.returncode != 0, name
        assert f"extraEnv[1]: the chart sets {name}: use " in done.stderr


@pytest.mark.parametrize("name", ["VLLM_OPERATOR_HEALTH_ADDRESS", "VLLM_OPERATOR_HEALTH_PORT"])
def test_what_the_probes_rely_on_is_no_extra_variable(name: str) -> None:
    done = template({"extraEnv": [{"name": name, "value": "9090"}]})
    assert done.returncode != 0
    assert f"extraEnv[0]: {name}: the probes ask port 8080 at the pod's address: leave it out" in done.stderr


def test_by_default_the_settings_are_those_of_the_operator() -> None:
    assert Settings.read(environment({})) == Settings()


def test_settings_arrive_in_the_operator() -> None:
    names = (
        "watchNamespaces",
        "defaultImages",
        "gaudiNodes",
        "readLogs",
        "workers",
        "allowedImages",
        "verify",
    )
    variables = environment({name: EVERYTHING[name] for name in names})
    settings = Settings.read(variables)
    assert settings.namespaces == ("team-a", "team-b")
    images = {device: (image.image, image.engine) for device, image in settings.defaults.images.items()}
    assert images == {
        "cpu": ("registry.example/vllm-cpu:v0.32.0", "vllm 0.32"),
        "gaudi": ("registry.example/vllm-gaudi:0.26.0", "vllm-gaudi 0.26"),
    }
    assert settings.defaults.gaudi_nodes == {"habana.ai/gaudi.present": "true", "pool": "cards"}
    assert settings.defaults.generations == {"g2": {"generation": "g2"}, "g3": {"generation": "g3"}}
    assert (settings.read_logs, settings.workers) == (False, 8)
    assert (settings.verify, settings.verify_proxy) == (False, "http://proxy.example:3128")
    assert settings.defaults.microservice_image == "ghcr.io/vllm-operator/vllm-operator:0.1.0"
    assert variables["VLLM_OPERATOR_ALLOWED_IMAGES"] == "registry.example/,docker.io/vllm/"
    assert "VLLM_OPERATOR_PLATFORM_ASSIGNS_IDS" not in variables
    switched = environment({"platformAssignsIds": True})
    assert switched["VLLM_OPERATOR_PLATFORM_ASSIGNS_IDS"] == "true"


def test_the_default_images_are_named_in_the_comments() -> None:
    text = (CHART / "values.yaml").read_text()
    for image in DEFAULT_IMAGES.values():
        assert image.image in text


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({}, "ghcr.io/vllm-operator/vllm-operator:0.1.0"),
        ({"image.repository": "r:5000/o", "image.tag": "v1"}, "r:5000/o:v1"),
        ({"image.digest": f"sha256:{'a' * 64}"}, f"vllm-operator@sha256:{'a' * 64}"),
    ],
)
def test_the_image(values: Values, image: str) -> None:
    objects = render(values)
    pods = [only(objects, "Deployment")["spec"]["template"]["spec"], only(objects, "Pod")["spec"]]
    for pod in pods:
        assert pod["containers"][0]["image"].endswith(image)


def test_a_tag_that_a_digest_would_hide_is_refused() -> None:
    """Such as that of an upgrade that keeps the values of before."""
    done = template({"image.digest": f"sha256:{'a' * 64}", "image.tag": "0.2.0"})
    assert done.returncode != 0
    assert "image.tag and image.digest: give one of them" in done.stderr
    assert "to go over to tag 0.2.0, set image.digest to '' too (--set image.digest=)" in done.stderr


REFUSED: list[tuple[str, Any, str]] = [
    ("replica", 2, "additional properties 'replica' not allowed"),
    ("image.pullpolicy", "Always", "at '/image': additional properties 'pullpolicy' not allowed"),
    ("replicas", "2", "at '/replicas': got string, want integer"),
    ("replicas", 9, "at '/replicas': maximum"),
    ("workers", 0, "at '/workers': minimum"),
    ("image.digest", "sha256:abc", "at '/image/digest'"),
    ("image.repository", "https://registry.example/x", "at '/image/repository'"),
    ("watchNamespaces", ["Team"], "at '/watchNamespaces/0'"),
    ("watchNamespaces", ["a", "a"], "at '/watchNamespaces': items at 0 and 1 are equal"),
    ("watchNamespaces", "a", "at '/watchNamespaces': got string, want array"),
    ("allowedImages", ["a,b"], "at '/allowedImages/0'"),
    ("logLevel", "trace", "at '/logLevel': value must be one of"),
    ("defaultImages.cpu.engine", "vllm-gaudi 0.26", "at '/defaultImages/cpu/engine'"),
    ("defaultImages.cpu.image", "registry.example/x:1", "defaultImages.cpu.engine: say which engine"),
    ("defaultImages.hpu", {}, "at '/defaultImages': additional properties 'hpu' not allowed"),
    ("gaudiNodes.g4", {}, "at '/gaudiNodes': additional properties 'g4' not allowed"),
    ("gaudiNodes.all", {"a": True}, "at '/gaudiNodes/all/a': got boolean, want string"),
    ("gaudiNodes.all", "a=b", "at '/gaudiNodes/all': got string, want object"),
    ("tolerations", [{"kex": "a"}], "at '/tolerations/0': additional properties 'kex' not allowed"),
    ("tolerations", [{"operator": "Equals"}], "at '/tolerations/0/operator': value must be one of 'Exists'"),
    ("tolerations", [{"effect": "Never"}], "at '/tolerations/0/effect': value must be one of 'NoSchedule'"),
    (
        "topologySpreadConstraints",
        [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "Never"}],
        "at '/topologySpreadConstraints/0/whenUnsatisfiable': value must be one of 'DoNotSchedule'",
    ),
    ("affinity", {"podAffinty": {}}, "at '/affinity': additional properties 'podAffinty' not allowed"),
    ("resources.limits", {"cpu": "many"}, "at '/resources/limits/cpu'"),
    ("extraLabels", {"app.kubernetes.io/name": "x"}, "at '/extraLabels/app.kubernetes.io~1name'"),
    ("extraEnv", [{"nam": "A"}], "at '/extraEnv/0'"),
    ("extraEnv", [{"name": "A"}, {"name": "A"}], "extraEnv[1]: A is there twice"),
    (
        "extraEnv",
        [{"name": "VLLM_OPERATOR_NAMESPACES"}],
        "extraEnv[0]: the chart sets VLLM_OPERATOR_NAMESPACES: use w",
    ),
    ("networkPolicy.apiServerPorts", [0], "at '/networkPolicy/apiServerPorts/0': minimum"),
    ("networkPolicy.apiServerPorts", [], "at '/networkPolicy/apiServerPorts': minItems"),
    ("networkPolicy.dnsPorts", [], "at '/networkPolicy/dnsPorts': minItems"),
    ("networkPolicy.metricsFrom", [{"pods": {}}], "at '/networkPolicy/metricsFrom/0'"),
    ("serviceMonitor.interval", "often", "at '/serviceMonitor/interval'"),
    ("prometheusRule.runbookUrl", "docs/runbooks/{alert}.md", "at '/prometheusRule/runbookUrl'"),
    ("prometheusRule.runbookUrl", "https://git.example/runbooks", "at '/prometheusRule/runbookUrl'"),
    ("imagePullSecrets", ["registry"], "at '/imagePullSecrets/0': got string, want object"),
]


@pytest.mark.parametrize(("path", "value", "words"), REFUSED)
def test_bad_values_are_refused_by_their_path(path: str, value: Any, words: str) -> None:
    done = template({path: value})
    assert done.returncode != 0
    assert words in done.stderr


@pytest.mark.parametrize("path", [*GROUPS, *LEAVES])
def test_a_null_is_refused_by_its_name(path: str) -> None:
    """Helm takes a value that is null away before it looks into the schema."""
    group, _, name = path.rpartition(".")
    done = template({path: None})
    assert done.returncode != 0
    assert f"at '{'/' if group else ''}{group.replace('.', '/')}': missing property '{name}'" in done.stderr


def test_a_null_takes_an_entry_of_a_default_map_away() -> None:
    values = {"resources.limits.cpu": None, "grafanaDashboards.labels.grafana_dashboard": None}
    objects = render(values | {"grafanaDashboards.enabled": True})
    (container,) = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"].keys() == {"memory", "ephemeral-storage"}
    assert not any("grafana_dashboard" in each["metadata"]["labels"] for each in objects)


KEYED = [
    path
    for path in LEAVES
    if isinstance(at(DEFAULTS, path), dict) and path.split(".")[0] not in ("affinity", "resources")
]
"""Values that are labels or annotations."""


@pytest.mark.parametrize("path", KEYED)
def test_a_key_that_is_none_is_refused(path: str) -> None:
    where = f"/{path.replace('.', '/')}"
    for key in ("two words", "/x", "X.example/x", "x" * 64):
        done = template({path: {key: "x"}})
        assert done.returncode != 0
        assert f"at '{where}': additional properties '{key}' not allowed" in done.stderr
    render({path: {"example.com/x_1": "x"}})


def test_a_chart_that_holds_this_one_may_hand_down_global_values() -> None:
    assert render({"global": {"registry": "example"}}) == render({})


def test_alerts_and_dashboards_are_taken_as_they_are(chart: Path) -> None:
    switched = {"prometheusRule.enabled": True, "grafanaDashboards.enabled": True}
    objects = render(switched, chart=chart)
    groups = only(objects, "PrometheusRule")["spec"]["groups"]
    assert groups == yaml.safe_load((chart / "alerts.yaml").read_text())["groups"]
    board = only(objects, "ConfigMap")
    assert board["metadata"]["name"] == "vllm-operator-operator"
    assert board["data"] == {"operator.json": '{"title": "{{instance}}",\n "panels": []}\n'}
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_the_charts_own_alerts_and_dashboards_are_all_rendered() -> None:
    objects = render({"prometheusRule.enabled": True, "grafanaDashboards.enabled": True})
    boards = {name for each in objects if each["kind"] == "ConfigMap" for name in each["data"]}
    assert boards == {file.name for file in CHART.glob("dashboards/*.json")}
    rules = [each["spec"] for each in objects if each["kind"] == "PrometheusRule"]
    alerts = CHART / "alerts.yaml"
    assert rules == ([yaml.safe_load(alerts.read_text())] if alerts.exists() else [])
