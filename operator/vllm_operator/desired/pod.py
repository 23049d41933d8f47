"""The pod template of a VLLMServer."""

from typing import Any

from vllm_operator.api.observed import Manifest
from vllm_operator.api.vllmserver import VLLMServer, VLLMServerSpec
from vllm_operator.desired import engine, names
from vllm_operator.desired.profile import Profile
from vllm_operator.desired.records import Inputs
from vllm_operator.desired.render import render

USER = 1000
"""uid and gid of the pods; the guide's data folders belong to it too."""
PRE_STOP_SECONDS = 10
"""Seconds between a pod's leaving the Service's endpoints and SIGTERM."""
TEARDOWN_SECONDS = 30
"""Seconds for what vLLM does after its last answer: 12 were seen."""
STARTUP_PERIOD_SECONDS = 10
SHM_SIZE = "4Gi"


def pod_template(server: VLLMServer, inputs: Inputs, engine_profile: Profile) -> Manifest:
    """The pod template of a server."""
    spec = server.spec
    return render(
        "pod",
        labels={
            **(spec.pod_labels or {}),
            **names.labels(server.name),
            names.RECORD: inputs.digest,
        },
        annotations=spec.pod_annotations,
        service_account=spec.service_account_name or names.service_account(server.name),
        placement=_placement(server),
        grace_seconds=PRE_STOP_SECONDS + spec.rollout.drain_seconds + TEARDOWN_SECONDS,
        image_pull_secrets=[{"name": secret.name} for secret in spec.image_pull_secrets or ()],
        user=USER,
        fs_group=spec.cache.fs_group or (None if spec.cache.claim_name else USER),
        container=names.CONTAINER,
        image=inputs.image.image,
        image_pull_policy=spec.image_pull_policy,
        args=engine.arguments(spec, engine_profile),
        env=engine.environment(spec),
        port=names.PORT,
        # An empty map is not stored, and would differ for ever.
        resources={side: amounts for side, amounts in spec.resources.model_dump().items() if amounts},
        startup_period=STARTUP_PERIOD_SECONDS,
        startup_failures=-(-spec.warmup.timeout_seconds // STARTUP_PERIOD_SECONDS),
        pre_stop_seconds=PRE_STOP_SECONDS,
        data=names.DATA,
        home=names.HOME,
        claim=names.claim(server),
        shm_size=spec.shm_size or SHM_SIZE,
        chat_template=_chat_template(spec),
    )


def _placement(server: VLLMServer) -> dict[str, Any]:
    """Fields of a pod's spec that say where it may run, as far as they are given."""
    spec = server.spec
    placement = spec.model_dump(
        by_alias=True,
        exclude_none=True,
        include={
            *("node_selector", "tolerations", "affinity", "topology_spread_constraints"),
            "priority_class_name",
        },
    )
    for constraint in placement.get("topologySpreadConstraints", ()):
        # Kubernetes takes an absent selector for one that matches no pod.
        constraint.setdefault("labelSelector", {"matchLabels": names.selector(server.name)})
    return {field: value for field, value in placement.items() if value not in ({}, [])}


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
