"""A restricted namespace takes every pod that the operator makes without a warning, but for one switch."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings

from tests.cases.random_quantizations import quantizations
from tests.cases.random_servers import servers
from tests.cases.table import QUANTIZATION, SERVER
from tests.cluster import quantizing, support
from tests.cluster.rendered import DEFAULT, pod, stages
from tests.harness.api import Api, ApiError, Object
from tests.harness.operator import Cluster
from vllm_operator.__main__ import main
from vllm_operator.api.kinds import CLASSES
from vllm_operator.api.meta import InvalidObjectError
from vllm_operator.api.reasons import StalledError

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = sorted(path.parent for path in GOLDEN.glob("*/CR.yaml"))
EXAMPLES = 100
EVERY = (DEFAULT, replace(DEFAULT, platform_assigns_ids=True))
"""Settings that decide as whom pods run."""
AT_RANDOM = {SERVER: servers(), QUANTIZATION: quantizations()}
REFUSAL = (
    'violates PodSecurity "restricted:latest": unrestricted capabilities (container "{container}" must not '
    'include "SYS_NICE" in securityContext.capabilities.add)'
)


class Admission:
    """Asks a restricted namespace about pods; of each verdict it keeps how often it was given."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api  # whose warnings are about our pods alone
        self._namespace = namespace
        self.admitted = self.refused = self.invalid = 0

    def ask(self, manifests: Iterable[Object]) -> None:
        """Ask about what makes pods, and about the pods that it would make."""
        for manifest in manifests:
            if manifest["kind"] not in ("Deployment", "Job"):
                continue
            metadata = {"name": manifest["metadata"]["name"], "namespace": self._namespace}
            controller = manifest | {"metadata": metadata}
            spec = controller["spec"]["template"]["spec"]
            # No cluster has them all, and Pod Security looks at neither.
            bare = {key: spec[key] for key in spec if key not in ("priorityClassName", "runtimeClassName")}
            made = pod(controller)
            made["spec"] = bare | {"serviceAccountName": "default"}
            self._verdict(controller, made)

    def _verdict(self, controller: Object, made: Object) -> None:
        (container,) = made["spec"]["containers"]
        nice = "add" in container["securityContext"]["capabilities"]
        refusal = self._refusal(made)
        if refusal is None:
            assert not nice, "a restricted namespace takes SYS_NICE"
            self.admitted += 1
        elif "PodSecurity" in refusal.message:
            assert nice, refusal.message
            assert refusal.message.endswith(REFUSAL.format(container=container["name"]))
            self.refused += 1
        else:
            assert refusal.code in (400, 422), refusal.message  # of no namespace, restricted or not
            self.invalid += 1
            return
        assert self._api.warnings == []
        assert self._refusal(controller) is None
        # The warning ends as the refusal does; in a header, quotes are written with a stroke before them.
        warned = [warning.replace('\\"', '"').rstrip('"') for warning in self._api.warnings]
        assert [warning.rpartition(": ")[2] for warning in warned] == [
            error.message.rpartition(": ")[2] for error in [refusal] if error is not None
        ]

    def _refusal(self, obj: Object) -> ApiError | None:
        self._api.warnings.clear()
        try:
            self._api.create(obj, dry_run=True)
        except ApiError as error:
            return error
        return None


@pytest.fixture
def admission(cluster: Cluster, namespace: str) -> Iterator[Admission]:
    with Api(cluster.kubeconfig) as own:
        modes = own.wait_object("Namespace", None, namespace, lambda _: True)["metadata"]["labels"]
        for mode in ("enforce", "audit", "warn"):
            assert modes[f"pod-security.kubernetes.io/{mode}"] == "restricted"
        own.wait_object("ServiceAccount", namespace, "default", lambda _: True)
        yield Admission(own, namespace)


def rendered(file: Path, environment: dict[str, str]) -> list[Object]:
    result = CliRunner().invoke(main, ["render", str(file)], env=environment, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return list(yaml.safe_load_all(result.stdout))


def test_every_golden_pod_is_admitted(admission: Admission) -> None:
    """As recorded, and with ids left to the platform."""
    for case in CASES:
        recorded = list(yaml.safe_load_all((case / "children.yaml").read_text()))
        left = rendered(case / "CR.yaml", {"VLLM_OPERATOR_PLATFORM_ASSIGNS_IDS": "true"})
        for manifests in (recorded, left):
            before = admission.admitted + admission.refused
            admission.ask(manifests)
            assert admission.admitted + admission.refused > before, case.name
    assert admission.invalid == 0
    assert (admission.admitted > 2 * len(CASES), admission.refused > 0) == (True, True)


@pytest.mark.parametrize("kind", AT_RANDOM)
def test_every_pod_at_random_is_admitted(admission: Admission, kind: str) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(AT_RANDOM[kind])
    def check(body: Object) -> None:
        for defaults in EVERY:
            try:
                made = stages(CLASSES[kind].parse(body), defaults)
            except (InvalidObjectError, StalledError):
                return
            admission.ask(manifest for manifests in made for manifest in manifests)

    check()
    print(f"{admission.admitted} admitted, {admission.refused} refused, {admission.invalid} invalid")
    assert admission.admitted > EXAMPLES / 2


@pytest.mark.parametrize("kind", AT_RANDOM)
def test_sys_nice_is_the_one_exception(admission: Admission, kind: str, namespace: str) -> None:
    gaudi: Object = {"gaudi": {"sysNice": True}}
    if kind == SERVER:
        body = support.server(namespace, device="gaudi", prefetch=True, **gaudi)
    else:
        body = quantizing.quantization(namespace, **gaudi)
    for number, defaults in enumerate(EVERY):
        made = stages(CLASSES[kind].parse(body), defaults)
        admission.ask(manifest for manifests in made for manifest in manifests)
        # What fills the cache has no cards, and no need to.
        assert (admission.admitted, admission.refused) == (number + 1, number + 1)
