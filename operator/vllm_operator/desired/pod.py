"""The pod template of a VLLMServer."""

from typing import Any

from vllm_operator.api.kinds import Ours
from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.api.seen import Manifest
from vllm_operator.api.vllmserver import VLLMServer, VLLMServerSpec
from vllm_operator.desired import devices, engine, fp8, names
from vllm_operator.desired.defaults import Defaults, Image
from vllm_operator.desired.profile import Profile, find, stem_of
from vllm_operator.desired.records import Inputs
from vllm_operator.desired.render import render

USER = 1000
"""uid and gid of the pods; the guide's data folders belong to it too."""
PRE_STOP_SECONDS = 10
"""Seconds between a pod's leaving the Service's endpoints and SIGTERM."""
TEARDOWN_SECONDS = 30
"""Seconds for what vLLM does after its last answer: 12 were seen."""
STARTUP_PERIOD_SECONDS = 10


def _profile(server: VLLMServer, image: Image) -> Profile:
    """The profile of the engine in an image. Raises StalledError(InvalidForEngine)."""
    family, version = image.engine.split()
    asked = server.spec.engine
    if asked is not None and stem_of(asked.family, asked.version) != stem_of(family, version):
        raise StalledError(
            Reason.INVALID_FOR_ENGINE,
            f"spec.engine: {image.image} holds {image.engine}, not {asked.family} {asked.version}; name an "
            "image in spec.image, or remove spec.engine",
        )
    return find(family, version, server.spec.device)


def check_engine(server: VLLMServer, inputs: Inputs) -> None:
    """Raise StalledError(InvalidForEngine) if the engine cannot do what a server asks for."""
    profile = _profile(server, inputs.image)
    engine.arguments(server.spec, profile, inputs.cached, inputs.quantization)
    fp8.parts(server.spec, profile, inputs.quantization)


def pod_template(server: VLLMServer, inputs: Inputs, defaults: Defaults) -> Manifest:
    """The pod template of a server.

    Raises StalledError(InvalidForEngine).
    """
    spec, profile, quantization = server.spec, _profile(server, inputs.image), inputs.quantization
    of_fp8 = fp8.parts(spec, profile, quantization)
    return render(
        "pod",
        labels={**(spec.pod_labels or {}), **names.labels(server), names.RECORD: inputs.digest},
        annotations={**(spec.pod_annotations or {}), **of_fp8.annotations},
        service_account=spec.service_account_name or names.service_account(server),
        placement=placement(server, defaults, of_fp8.measured_on),
        grace_seconds=PRE_STOP_SECONDS + spec.rollout.drain_seconds + TEARDOWN_SECONDS,
        image_pull_secrets=[{"name": secret.name} for secret in spec.image_pull_secrets or ()],
        ids=ids(server, defaults),
        container=names.CONTAINER,
        image=inputs.image.image,
        image_pull_policy=spec.image_pull_policy,
        args=engine.arguments(spec, profile, inputs.cached, quantization),
        env=engine.environment(spec, inputs.image, inputs.cached, quantization, of_fp8.variables),
        port=names.PORT,
        resources=devices.resources(spec, cards=devices.cards(spec)),
        # Pod Security `restricted` lets no container add it.
        capabilities=["SYS_NICE"] if spec.gaudi.sys_nice else [],
        startup_period=STARTUP_PERIOD_SECONDS,
        startup_failures=-(-spec.warmup.timeout_seconds // STARTUP_PERIOD_SECONDS),
        pre_stop_seconds=PRE_STOP_SECONDS,
        data=names.DATA,
        home=names.HOME,
        claim=names.claim(server),
        shm_size=spec.shm_size or devices.SHM_SIZE[spec.device],
        chat_template=_chat_template(spec),
        fp8=of_fp8,
    )


def ids(resource: Ours, defaults: Defaults) -> dict[str, Any]:
    """Fields of a pod's securityContext that say as whom it runs, and whose the cache's files become."""
    cache, fields = resource.spec.cache, dict[str, Any]()
    group = cache.fs_group
    if not defaults.platform_assigns_ids:
        fields = {"runAsUser": USER, "runAsGroup": USER}
        # Without a group the files of a given claim stay as they are.
        group = group or (None if cache.claim_name else USER)
    if group is not None:
        fields["fsGroup"] = group
    if "fsGroup" in fields or defaults.platform_assigns_ids:
        # Or the kubelet would go through all files at each start.
        fields["fsGroupChangePolicy"] = "OnRootMismatch"
    return fields


def placement(resource: Ours, defaults: Defaults, measured_on: str | None = None) -> dict[str, Any]:
    """Fields of a pod's spec that say where it may run, as far as they are given.

    `measured_on` is the generation of cards that a calibration is good for.
    Raises StalledError(InvalidForEngine).
    """
    spec = resource.spec
    given = {"tolerations", "affinity", "topology_spread_constraints", "priority_class_name"}
    fields = spec.model_dump(by_alias=True, exclude_none=True, include=given)
    for constraint in fields.get("topologySpreadConstraints", ()):
        # Kubernetes takes an absent selector for one that matches no pod.
        constraint.setdefault("labelSelector", {"matchLabels": names.selector(resource.name)})
    fields = {"nodeSelector": devices.node_selector(spec, defaults, measured_on), **fields}
    if spec.gaudi.runtime_class_name is not None:
        fields["runtimeClassName"] = spec.gaudi.runtime_class_name
    return {field: value for field, value in fields.items() if value not in ({}, [])}


def _chat_template(spec: VLLMServerSpec) -> dict[str, str] | None:
    if spec.model.chat_template is None:
        return None
    source = spec.model.chat_template.config_map_key_ref
    folder, _, file = names.CHAT_TEMPLATE.rpartition("/")
    return {
        "volume": names.CHAT_TEMPLATE_VOLUME,
        "config_map": source.name,
        "key": source.key,
        "folder": folder,
        "file": file,
    }
