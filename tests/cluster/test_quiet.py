"""Nothing but the Lease is written where nothing has changed: at rest, after a restart, for every CR."""

import copy
import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.cluster import support
from tests.harness.api import Api, ApiError, Object
from tests.harness.audit import Audit
from tests.harness.binaries import REPOSITORY
from tests.harness.kinds import KINDS
from tests.harness.operator import OperatorProcess
from vllm_operator.desired.canonical import owned

CASES = sorted(REPOSITORY.glob("tests/golden/*/CR.yaml")) + sorted(
    REPOSITORY.glob("manifests/samples/*.yaml")
)
FUZZED = 25
REST_SECONDS = 4.0


def test_nothing_is_written_at_rest_and_after_a_restart(
    api: Api, namespace: str, operator: OperatorProcess, audit: Audit
) -> None:
    support.put(api, support.server(namespace, replicas=2))
    support.wait_serving(api, namespace)
    support.wait_at_rest(audit, operator, namespace)
    mark = audit.mark()
    time.sleep(REST_SECONDS)
    assert support.written(audit, operator, mark) == []
    assert operator.restart() == 0
    support.wait_reconciles(api, operator, 1)
    time.sleep(REST_SECONDS)
    assert support.written(audit, operator, mark) == []


def documents(path: Path) -> list[Object]:
    found = [each for each in yaml.safe_load_all(path.read_text()) if each]
    return [each for each in found if each["kind"] == "VLLMServer"]


def test_there_are_cases() -> None:
    assert sum(len(documents(path)) for path in CASES) >= 2


def test_a_second_look_at_every_case_writes_nothing(
    api: Api, namespace: str, operator: OperatorProcess, audit: Audit
) -> None:
    servers = []
    for number, path in enumerate(CASES):
        for place, obj in enumerate(documents(path)):
            name, spec = f"case-{number}-{place}", dict(obj["spec"])
            # Its controller speaks when it likes, also between two looks: test_autoscaling.py is about that.
            spec.pop("autoscaling", None)
            servers.append(obj | {"metadata": {"name": name, "namespace": namespace}, "spec": spec})
            _make_what_is_named(api, namespace, spec)
    _second_look(api, namespace, operator, audit, servers)


def _make_what_is_named(api: Api, namespace: str, spec: Object) -> None:
    """Without them the pods are refused."""
    if account := spec.get("serviceAccountName"):
        metadata = {"name": account, "namespace": namespace}
        api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    if priority := spec.get("priorityClassName"):
        common = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 1}
        api.apply(common | {"metadata": {"name": priority}})


def _name(variable: Any) -> str:
    return str(variable["name"])


quantities = st.one_of(
    st.integers(1, 2**40).map(str),
    st.builds(
        "{}{}".format,
        st.one_of(st.integers(1, 5000).map(str), st.decimals("0.001", 5000, places=3).map(str)),
        st.sampled_from(["", "k", "M", "G", "Ki", "Mi", "Gi", "e3", "E2", "m"]),
    ),
)
cpus = st.one_of(st.integers(1, 16), st.sampled_from(["0.5", "1500m", "2.0", "4000m", "100u", "1e0", ".25"]))
values = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
fuzz = st.fixed_dictionaries(
    {
        "shmSize": quantities,
        "cache": st.fixed_dictionaries({"size": quantities}),
        "cpu": st.fixed_dictionaries({"kvCache": quantities}),
        "resources": st.fixed_dictionaries(
            {
                "limits": st.fixed_dictionaries(
                    {"cpu": cpus, "memory": quantities, "ephemeral-storage": quantities}
                )
            }
        ),
        "extraEnv": st.lists(
            st.fixed_dictionaries({"name": st.from_regex(r"[A-Z]{1,8}_X", fullmatch=True), "value": values}),
            max_size=4,
            unique_by=_name,
        ),
    }
)


def generated() -> list[Object]:
    """Return specs, always the same ones."""
    specs: list[Object] = []

    @seed(20260101)
    @settings(
        max_examples=FUZZED,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(fuzz)
    def collect(spec: Object) -> None:
        specs.append(copy.deepcopy(spec))

    collect()
    return specs


def test_a_second_look_at_fuzzed_quantities_and_strings_writes_nothing(
    api: Api, namespace: str, operator: OperatorProcess, audit: Audit
) -> None:
    # No pods: what is made of them is in the Deployment, and volumes of such sizes there are none.
    servers = [
        support.server(namespace, f"fuzz-{i}", **spec, replicas=0) for i, spec in enumerate(generated())
    ]
    assert len(servers) == FUZZED
    _second_look(api, namespace, operator, audit, servers)


def _second_look(
    api: Api, namespace: str, operator: OperatorProcess, audit: Audit, servers: list[Object]
) -> None:
    warnings, names = len(api.warnings), []
    for obj in servers:
        try:
            support.put(api, obj)
        except ApiError as error:
            pytest.fail(f"{error}: {json.dumps(obj)}")
        names.append(obj["metadata"]["name"])
    for name in names:
        told = api.wait_object(
            "VLLMServer",
            namespace,
            name,
            lambda obj: obj["status"]["observedGeneration"] == obj["metadata"]["generation"],
            timeout=support.READY_SECONDS,
            message=f"{name} is looked at; the operator's last words:\n{operator.tail()}",
        )
        # Pods with a capability are refused here, and a case may have come that far.
        said = [each for each in told["status"]["conditions"] if not each["message"].startswith("Pods are")]
        reasons = {each["reason"] for each in said}
        assert not reasons & {"ChildRejected", "InvalidForEngine", "InvalidSpec"}, told
        kinds = {ref[0] for ref in support.children(api, namespace, name)}
        # A cache that must be filled first may find no volume, or no node that is large enough.
        assert bool({"Deployment", "Job"} & kinds) is not told["spec"]["paused"], told
    support.wait_at_rest(audit, operator, namespace)
    mark, before = audit.mark(), support.reconciles(operator)
    for name in names:
        api.patch("VLLMServer", namespace, name, {"metadata": {"annotations": {"look": "again"}}})
    support.wait_reconciles(api, operator, len(names), since=before)
    assert operator.restart() == 0
    support.wait_reconciles(api, operator, len(names))
    support.wait_at_rest(audit, operator, namespace)
    assert support.written(audit, operator, mark) == []
    assert support.refused(audit, operator) == []
    _no_warnings(api, namespace, names, warnings)


def _no_warnings(api: Api, namespace: str, names: list[str], seen: int) -> None:
    """Apply what the operator applied once more, as a dry run of ours: the API server warns whoever asks."""
    for name in names:
        for (kind, child), live in support.children(api, namespace, name).items():
            if kind == "Job":
                continue  # it takes no other order of its lists; test_prefetch.py looks at its pods
            body = owned(live, support.MANAGER)
            identity = {"name": child, "namespace": namespace}
            body |= {"apiVersion": KINDS[kind].api_version, "kind": kind}
            body["metadata"] = body["metadata"] | identity
            path = KINDS[kind].path(namespace, child)
            parameters = {
                "dryRun": "All",
                "fieldManager": "dry",
                "force": "true",
                "fieldValidation": "Strict",
            }
            api.request("PATCH", path, body, "application/apply-patch+yaml", parameters)
    # A fraction of a byte and a capability are what the author of a CR asked for.
    asked_for = ("fractional byte value", "SYS_NICE")
    assert [each for each in api.warnings[seen:] if not any(words in each for words in asked_for)] == []
