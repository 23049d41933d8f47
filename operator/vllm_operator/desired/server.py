"""The children of a VLLMServer."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from vllm_operator.api.meta import API_VERSION
from vllm_operator.api.observed import Manifest, Observed
from vllm_operator.api.quantity import exact
from vllm_operator.api.vllmserver import KIND, VLLMServer
from vllm_operator.desired import engine, names, profile, records
from vllm_operator.desired.records import Image, Inputs
from vllm_operator.desired.render import render

USER = 1000
"""uid and gid of the pods; the guide's data folders belong to it too."""
PRE_STOP_SECONDS = 10
"""Seconds between a pod's leaving the Service's endpoints and SIGTERM."""
TEARDOWN_SECONDS = 30
"""Seconds for what vLLM does after its last answer: 12 were seen."""
STARTUP_PERIOD_SECONDS = 10
PROGRESS_MARGIN_SECONDS = 1800
"""Added to the startup budget before a rollout counts as stuck: scheduling, volumes, the image."""
SHM_SIZE = "4Gi"


@dataclass(frozen=True, slots=True)
class Desired:
    """What should be."""

    record: str
    """Digest of the inputs; the pods carry it as a label."""
    image: str
    manifests: tuple[Manifest, ...]


def desired(observed: Observed, default: Image) -> Desired:
    """Everything that should be for a server, in the order in which it is to be applied.

    Raises StalledError(InvalidForEngine) when the engine cannot do what the spec asks for.
    """
    server = observed.server
    inputs = records.inputs(observed, default)
    family, version = inputs.image.engine.split()
    engine_profile = profile.find(family, version, server.spec.device)
    name = names.record(server.name, inputs.digest)
    recorded = next((record for record in observed.records if record.name == name), None)
    template = records.unpack(recorded.content) if recorded else pod_template(server, inputs, engine_profile)
    manifests = [_service_account(server), *_claim(observed)]
    if recorded is None:
        manifests.append(_record(observed, inputs, template))
    manifests += [_service(server), _deployment(observed, template)]
    return Desired(inputs.digest, inputs.image.image, tuple(manifests))


def basis(observed: Observed) -> Hashable:
    """All that `desired` looks at: while it is the same, so is what should be."""
    server, claim = observed.server, observed.claim
    return (
        (server.uid, server.generation),
        tuple((record.name, record.uid) for record in observed.records),
        (claim.size, claim.access_modes) if claim else None,
        _replicas(observed),
    )


def pod_template(server: VLLMServer, inputs: Inputs, engine_profile: profile.Profile) -> Manifest:
    """The pod template of a server."""
    spec = server.spec
    return render(
        "pod",
        labels=names.labels(server.name) | {names.RECORD: inputs.digest},
        service_account=names.service_account(server.name),
        grace_seconds=PRE_STOP_SECONDS + engine.DRAIN_SECONDS + TEARDOWN_SECONDS,
        image_pull_secrets=[{"name": secret.name} for secret in spec.image_pull_secrets or ()],
        user=USER,
        fs_group=None if spec.cache.claim_name else USER,
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
    )


def _metadata(server: VLLMServer, name: str, *, owned: bool = True) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": server.namespace,
        "labels": names.labels(server.name),
    }
    if owned:
        owner = {"apiVersion": API_VERSION, "kind": KIND, "name": server.name, "uid": server.uid}
        # No blockOwnerDeletion: it needs rights on finalizers.
        metadata["ownerReferences"] = [{**owner, "controller": True}]
    return metadata


def _service_account(server: VLLMServer) -> Manifest:
    return render("serviceaccount", metadata=_metadata(server, names.service_account(server.name)))


def _claim(observed: Observed) -> list[Manifest]:
    """The claim of the cache, unless one was given; a retained one has no owner and outlives its server."""
    server, cache = observed.server, observed.server.spec.cache
    if cache.size is None:
        return []
    size = cache.size
    if observed.claim is not None and exact(observed.claim.size) > exact(size):
        size = observed.claim.size  # a claim cannot shrink; one that was retained may be larger
    return [
        render(
            "persistentvolumeclaim",
            metadata=_metadata(server, names.claim(server), owned=cache.retention == "Delete"),
            access_modes=cache.access_modes or ["ReadWriteOnce"],
            storage_class_name=cache.storage_class_name,
            size=size,
        )
    ]


def _service(server: VLLMServer) -> Manifest:
    return render(
        "service",
        metadata=_metadata(server, names.service(server.name)),
        selector=names.selector(server.name),
        port=server.spec.service.port,
    )


def _record(observed: Observed, inputs: Inputs, template: Manifest) -> Manifest:
    newest = observed.records[-1].revision if observed.records else 0
    manifest = render(
        "controllerrevision",
        metadata=_metadata(observed.server, names.record(observed.server.name, inputs.digest)),
        revision=newest + 1,
        inputs=inputs.values,
    )
    manifest["data"]["template"] = template
    return manifest


def _deployment(observed: Observed, template: Manifest) -> Manifest:
    server = observed.server
    surges = _surges(observed)
    manifest = render(
        "deployment",
        metadata=_metadata(server, names.deployment(server.name)),
        replicas=_replicas(observed),
        progress_deadline_seconds=server.spec.warmup.timeout_seconds + PROGRESS_MARGIN_SECONDS,
        selector=names.selector(server.name),
        max_surge=int(surges),
        max_unavailable=int(not surges),
    )
    # Put in whole: going through YAML once more would be half of the time of a reconcile.
    manifest["spec"]["template"] = template
    return manifest


def _replicas(observed: Observed) -> int | None:
    """The replica count, or None where another manager has set one: an HPA, `kubectl scale deployment`.

    The same number is ours to write again, and with it the field comes back to the server's spec.
    """
    deployment, wanted = observed.deployment, observed.server.spec.replicas
    if deployment is not None and deployment.replicas_manager and deployment.wanted_replicas != wanted:
        return None
    return wanted


def _surges(observed: Observed) -> bool:
    """Whether a new pod may start beside an old one: only where both can mount the cache."""
    cache = observed.server.spec.cache
    if cache.claim_name is None:
        return "ReadWriteMany" in (cache.access_modes or ())
    return observed.claim is not None and "ReadWriteMany" in observed.claim.access_modes
