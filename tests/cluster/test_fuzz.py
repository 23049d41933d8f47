"""Objects at random on a real API server: it judges them as the models do, and takes what we make of them."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.cases.random_quantizations import quantizations
from tests.cases.random_servers import servers
from tests.cases.schemas import SPECS
from tests.cases.table import QUANTIZATION, SERVER
from tests.cluster import quantizing, support
from tests.cluster.rendered import DEFAULT, pod, stages
from tests.harness.api import Api, ApiError, Object
from tests.harness.operator import OperatorProcess
from vllm_operator.api.kinds import CLASSES
from vllm_operator.api.meta import InvalidObjectError
from vllm_operator.api.observed import POD_MONITOR
from vllm_operator.api.reasons import StalledError
from vllm_operator.api.seen import Manifest
from vllm_operator.desired.accessories import part
from vllm_operator.desired.canonical import IMMUTABLE, digest, owned
from vllm_operator.desired.names import FIELD_MANAGER
from vllm_operator.status.conditions import MAX_MESSAGE

REFUSED: tuple[Object, ...] = (
    {"resources": {"limits": {"cpu": 1}, "requests": {"cpu": 2}}},
    {"resources": {"limits": {"nonsense": 1}}},
    {"resources": {"limits": {"example.com/card": "500m"}}},
    {"tolerations": [{"operator": "Equals", "key": "a"}]},
    {
        "topologySpreadConstraints": [
            {"maxSkew": 0, "topologyKey": "a", "whenUnsatisfiable": "ScheduleAnyway"}
        ]
    },
    {"extraEnv": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.nope"}}}]},
    {"priorityClassName": "no-such-class"},
    {
        "affinity": {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}
        }
    },
)
"""Fields that only the validation of pods, or the cluster, knows to be wrong."""
PLAYED = 12
"""Objects with a refused child that a running operator is given, each refused for another reason."""
MAKE = {SERVER: support.server, QUANTIZATION: quantizing.quantization}
AT_RANDOM = {SERVER: servers(), QUANTIZATION: quantizations()}


class Fuzz:
    """Asks the API server about objects and their children, and keeps one object of each kind of refusal."""

    def __init__(self, cluster: Any, namespace: str) -> None:
        self._api = Api(cluster.kubeconfig)  # a client of its own: its warnings are about our objects
        self.namespace = namespace
        self.refused: dict[str, Object] = {}
        self.judged = self.made = self.taken = 0

    def close(self) -> None:
        self._api.close()

    def check(self, body: Object) -> None:
        """One object: the verdicts on it agree, and so do its children with what is stored of them."""
        body = body | {"metadata": body["metadata"] | {"namespace": self.namespace}}
        self.judged += 1
        stored = self._create(body)
        self._api.warnings.clear()  # an odd field of the author's is none of ours
        problems = problems_of(body)
        if isinstance(stored, ApiError):
            assert problems, f"only the API server refuses it: {stored.message}"
            return
        assert problems == (), "only the models refuse it"
        refusal = self.first_refusal(stored)
        if refusal is not None and "PodSecurity" in refusal.message:
            # What the namespace forbids, and the field's description says so.
            assert stored["spec"]["gaudi"]["sysNice"], refusal.message
        elif refusal is not None:
            self.refused.setdefault(kind_of(refusal), body)
        else:
            assert self._api.warnings == []
            self.taken += 1

    def first_refusal(self, stored: Object, *, at_once: bool = False) -> ApiError | None:
        """Ask about all children; the first that is refused is the one that the operator speaks of.

        With `at_once`, only about those that a new object gets.
        """
        try:
            first, *later = stages(CLASSES[stored["kind"]].parse(stored), DEFAULT)
        except StalledError:
            return None
        manifests = first if at_once else [*first, *(m for manifests in later for m in manifests)]
        answers = []
        for manifest in manifests:
            if part(manifest) == POD_MONITOR:
                continue  # nobody has installed the kind
            answer = self._apply(manifest)
            if part(manifest):
                continue  # what is refused of it is a condition of its own
            answers.append(answer)
            if manifest["kind"] in ("Deployment", "Job"):
                answers.append(self._create(pod(manifest)))
        self.made += 1
        return next((answer for answer in answers if isinstance(answer, ApiError)), None)

    def _apply(self, manifest: Manifest) -> Object | ApiError:
        try:
            live = self._api.apply(manifest, FIELD_MANAGER, dry_run=True)
        except ApiError as error:
            return error
        if manifest["kind"] not in IMMUTABLE:  # never applied again
            assert digest(owned(live, FIELD_MANAGER)) == digest(manifest), manifest["kind"]
        return live

    def _create(self, obj: Object) -> Object | ApiError:
        try:
            return self._api.create(obj, dry_run=True)
        except ApiError as error:
            return error


def problems_of(body: Object) -> tuple[str, ...]:
    """What the models find wrong."""
    try:
        CLASSES[body["kind"]].parse(body)
    except InvalidObjectError as error:
        return error.problems
    return ()


def kind_of(error: ApiError) -> str:
    """What refusals have in common that differ only in values and places."""
    causes = error.details.get("causes") or [{"field": "", "message": error.message}]
    text = f"{error.details.get('kind')} {causes[0]['field']} {causes[0]['message']}"
    return re.sub(r'"[^"]*"|(?<=with name )\S+|\[[^]]*]|\d+', "", text)[:200]


def words(error: ApiError) -> list[str]:
    """What the API server says is wrong, without the name of the object."""
    causes = error.details.get("causes")
    if not causes:
        return [error.message.split(": ", 1)[-1]]
    return [f"{cause['field']}: {cause['message']}" for cause in causes]


@pytest.fixture
def fuzz(cluster: Any, namespace: str) -> Iterator[Fuzz]:
    found = Fuzz(cluster, namespace)
    found._api.wait_object("ServiceAccount", namespace, "default")
    yield found
    found.close()


@pytest.mark.parametrize("kind", AT_RANDOM)
def test_what_the_models_take_the_api_server_takes(
    request: pytest.FixtureRequest, api: Api, fuzz: Fuzz, operator: OperatorProcess, kind: str
) -> None:
    namespace = fuzz.namespace
    examples = request.config.getoption("--fuzz-examples")

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(AT_RANDOM[kind])
    def check(body: Object) -> None:
        fuzz.check(body)

    wrong = [fields for fields in REFUSED if fields.keys() <= SPECS[kind]["properties"].keys()]
    for fields in wrong:
        fuzz.check(MAKE[kind](namespace, **fields))
    assert len(fuzz.refused) == len(wrong) > 6
    check()
    print(f"{fuzz.judged} judged, {fuzz.made} made, {fuzz.taken} taken, refused:", *fuzz.refused, sep="\n")
    assert fuzz.taken > examples / 3
    expected: dict[str, ApiError] = {}
    for number, body in enumerate(fuzz.refused.values()):
        metadata = {"metadata": {"name": f"played-{number}", "namespace": namespace}}
        refusal = fuzz.first_refusal(api.create(body | metadata, dry_run=True), at_once=True)
        if refusal is not None and len(expected) < PLAYED:
            expected[f"played-{number}"] = refusal
            api.create(body | metadata)
    assert len(expected) > 3
    for name, refusal in expected.items():
        message = support.wait_stalled(api, namespace, name, "ChildRejected", of=kind)
        missing = [said for said in words(refusal) if said not in message]
        # Only a very long message may be cut, and never before the first of the reasons.
        assert missing == [] or (len(message) == MAX_MESSAGE and words(refusal)[0][:500] in message)
