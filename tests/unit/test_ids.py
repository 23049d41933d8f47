"""As whom pods run: uid 1000, or as a platform says that wants to say it itself."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit import quantized
from tests.unit.things import DEFAULT, observed, record_of, server
from vllm_operator.api.observed import Cached, Observed
from vllm_operator.config import InvalidSettingError, Settings
from vllm_operator.desired import calibration, names
from vllm_operator.desired.defaults import Defaults
from vllm_operator.desired.server import desired

Manifest = dict[str, Any]
CACHED = Cached("0" * 40, "/data/hub")
PLATFORM = replace(DEFAULT, platform_assigns_ids=True)
MADE: Manifest = {"cache": {"size": "10Gi"}, "prefetch": True}
GIVEN: Manifest = {"cache": {"claimName": "weights"}, "prefetch": True}
COMMON: Manifest = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
ON_MISMATCH: Manifest = {"fsGroupChangePolicy": "OnRootMismatch"}


def pods(seen: Observed, defaults: Defaults) -> dict[str, Manifest]:
    """Specs of the pods of a server and of its prefetch."""
    made = [each for cached in (None, CACHED) for each in desired(seen, defaults, cached).manifests]
    return {
        each["kind"]: each["spec"]["template"]["spec"]
        for each in made
        if each["kind"] in ("Job", "Deployment")
    }


def quantizing(spec: Manifest, defaults: Defaults) -> dict[str, Manifest]:
    """Specs of the pods of a quantization's two Jobs."""
    record, _ = quantized.measuring(spec)
    seen = (quantized.observed(spec), quantized.observed(spec, record))
    made = [each for found in seen for each in calibration.desired(found, defaults).manifests]
    jobs = [each["spec"]["template"]["spec"] for each in made if each["kind"] == "Job"]
    return {each["containers"][0]["name"]: each for each in jobs}


def contexts(found: dict[str, Manifest]) -> list[Manifest]:
    """What all pods have in common of who they are: one, where they agree."""
    each = [pod["securityContext"] for pod in found.values()]
    return [context for number, context in enumerate(each) if context not in each[:number]]


@pytest.mark.parametrize(
    ("spec", "fixed", "assigned"),
    [
        (MADE, {"fsGroup": 1000, **ON_MISMATCH}, {}),
        (GIVEN, {}, {}),
        ({**GIVEN, "cache": {"claimName": "a", "fsGroup": 7}}, {"fsGroup": 7, **ON_MISMATCH}, {"fsGroup": 7}),
        ({**MADE, "cache": {"size": "1Gi", "fsGroup": 7}}, {"fsGroup": 7, **ON_MISMATCH}, {"fsGroup": 7}),
    ],
)
def test_the_platform_may_assign_ids(spec: Manifest, fixed: Manifest, assigned: Manifest) -> None:
    """All but a group that the resource itself names."""
    usual, left = (pods(observed(server(spec)), defaults) for defaults in (DEFAULT, PLATFORM))
    assert usual.keys() == left.keys() == {"Job", "Deployment"}
    assert contexts(usual) == [{**COMMON, "runAsUser": 1000, "runAsGroup": 1000, **fixed}]
    assert contexts(left) == [{**COMMON, **assigned, **ON_MISMATCH}]


@pytest.mark.parametrize("group", [None, 7])
def test_jobs_of_a_quantization_leave_ids_to_it_too(group: int | None) -> None:
    spec = {"cache": {"claimName": "weights"} | ({"fsGroup": group} if group else {})}
    assigned = {"fsGroup": group} if group else {}
    usual, left = (quantizing(spec, defaults) for defaults in (DEFAULT, PLATFORM))
    assert usual.keys() == left.keys() == {names.PREFETCH, names.CALIBRATION}
    assert contexts(usual)[0]["runAsUser"] == 1000
    assert contexts(left) == [{**COMMON, **assigned, **ON_MISMATCH}]


def test_nothing_else_of_a_pod_hangs_on_it() -> None:
    of_servers = [pods(observed(server(MADE)), defaults) for defaults in (DEFAULT, PLATFORM)]
    of_quantizations = [quantizing({}, defaults) for defaults in (DEFAULT, PLATFORM)]
    for usual, left in (of_servers, of_quantizations):
        for pod in (*usual.values(), *left.values()):
            del pod["securityContext"]
            for container in (*pod["containers"], *pod.get("initContainers", ())):
                assert not {"runAsUser", "runAsGroup"} & container["securityContext"].keys()
        assert usual == left


@pytest.mark.parametrize("spec", [MADE, GIVEN])
def test_whoever_it_is_has_folders_to_write_to(spec: Manifest) -> None:
    """An emptyDir may be written by everybody, the cache by its group; nothing else is written."""
    for pod in pods(observed(server(spec)), PLATFORM).values():
        (container,) = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        empty = {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume}
        mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
        found = {each["name"]: each.get("value", "") for each in container["env"]}
        for variable in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "VLLM_CACHE_ROOT", "HF_HOME"):
            if variable not in found:
                continue
            (folder,) = (mounts[path] for path in mounts if f"{found[variable]}/".startswith(f"{path}/"))
            assert folder in (*empty, "cache"), variable
        # Whoever has no name in the image's passwd.
        assert (found["USER"], found["LOGNAME"]) == ("vllm", "vllm")


def test_what_runs_stays_and_is_offered_the_other_template() -> None:
    before = desired(observed(server()), DEFAULT)
    (kept,) = (record_of(each) for each in before.manifests if each["kind"] == "ControllerRevision")
    assert not desired(observed(server(), kept), DEFAULT).target.refresh_available
    again = desired(observed(server(), kept), PLATFORM)
    assert again.target.refresh_available
    assert again.manifests[-1] == before.manifests[-1]
    taken = desired(observed(server({"rollout": {"refresh": "a"}}), kept), PLATFORM)
    assert "runAsUser" not in taken.manifests[-1]["spec"]["template"]["spec"]["securityContext"]
    (new,) = (record_of(each) for each in taken.manifests if each["kind"] == "ControllerRevision")
    settled = desired(observed(server({"rollout": {"refresh": "a"}}), new), PLATFORM)
    assert not settled.target.refresh_available


def test_it_is_a_setting() -> None:
    assert not Settings.read({}).defaults.platform_assigns_ids
    variable = "VLLM_OPERATOR_PLATFORM_ASSIGNS_IDS"
    assert Settings.read({variable: "True"}).defaults.platform_assigns_ids
    with pytest.raises(InvalidSettingError, match=f"^{variable}: 'yes' is neither true nor false"):
        Settings.read({variable: "yes"})
