"""The children of a VLLMServer."""

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from vllm_operator.api.meta import API_VERSION
from vllm_operator.api.observed import Child, Manifest, Observed, RecordFacts, Ref
from vllm_operator.api.quantity import exact
from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.api.vllmserver import KIND, VLLMServer
from vllm_operator.desired import names, records
from vllm_operator.desired.canonical import digest
from vllm_operator.desired.pod import pod_template
from vllm_operator.desired.profile import Profile, find, stem_of
from vllm_operator.desired.records import Image, Inputs
from vllm_operator.desired.render import render

PROGRESS_MARGIN_SECONDS = 1800
"""Added to the startup budget before a rollout counts as stuck: scheduling, volumes, the image."""
OPTIONAL_KINDS = frozenset({"PodDisruptionBudget", "ServiceAccount"})
"""Kinds of which a server may have had a child that it no longer wants."""


@dataclass(frozen=True, slots=True)
class Desired:
    """What should be."""

    record: str
    """Digest of the inputs; the pods carry it as a label."""
    image: str
    manifests: tuple[Manifest, ...]
    refresh_available: bool
    """Whether the present operator would make another template, or take another default image."""


def desired(observed: Observed, default: Image) -> Desired:
    """Everything that should be for a server, in the order in which it is to be applied.

    Raises StalledError(InvalidForEngine) when the engine cannot do what the spec asks for.
    """
    server = observed.server
    inputs = records.inputs(observed, default)
    engine_profile = _profile(server, inputs.image)
    name = names.record(server.name, inputs.digest)
    recorded = next((record for record in observed.records if record.name == name), None)
    template = records.unpack(recorded.content) if recorded else pod_template(server, inputs, engine_profile)
    manifests = [*_service_account(server), *_claim(observed)]
    if recorded is None:
        manifests.append(_record(observed, inputs, template))
    manifests += [_service(server), *_disruption_budget(observed), _deployment(observed, template)]
    refreshed = recorded is not None and _is_stale(server, recorded, inputs, default)
    return Desired(inputs.digest, inputs.image.image, tuple(manifests), refreshed)


def superfluous(observed: Observed, wanted: Collection[Ref], record: str) -> tuple[Child, ...]:
    """Children of ours that may be deleted: no manifest wants them any more, or no way back needs them.

    Until a revision is rolled out, pods of the one before may need what only that one wants.
    """
    old: list[Child] = [*records.superfluous(observed, record)]
    deployment = observed.deployment
    if deployment is not None and deployment.rolled_out(record):
        children = observed.children.items()
        old += [child for ref, child in children if ref[0] in OPTIONAL_KINDS and ref not in wanted]
    return tuple(child for child in old if not child.deleting and child.owner == observed.server.uid)


def _is_stale(server: VLLMServer, recorded: RecordFacts, inputs: Inputs, default: Image) -> bool:
    if inputs.pinned and inputs.image != default:
        return True
    if recorded.renderer == records.renderer():
        return False
    template = pod_template(server, inputs, _profile(server, inputs.image))
    return digest({"spec": template}) != digest({"spec": records.unpack(recorded.content)})


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


def basis(observed: Observed) -> Hashable:
    """All that `desired` looks at: while it is the same, so is what should be."""
    server, claim = observed.server, observed.claim
    return (
        (server.uid, server.generation),
        tuple((record.name, record.uid) for record in observed.records),
        (claim.size, claim.access_modes) if claim else None,
        _replicas(observed),
        _pods_wanted(observed),
    )


def _metadata(
    server: VLLMServer, name: str, *, owned: bool = True, annotations: Mapping[str, str] | None = None
) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": server.namespace,
        "labels": names.labels(server.name),
    }
    if annotations:
        metadata["annotations"] = annotations
    if owned:
        owner = {"apiVersion": API_VERSION, "kind": KIND, "name": server.name, "uid": server.uid}
        # No blockOwnerDeletion: it needs rights on finalizers.
        metadata["ownerReferences"] = [{**owner, "controller": True}]
    return metadata


def _service_account(server: VLLMServer) -> list[Manifest]:
    """The account of the pods, unless one was given."""
    if server.spec.service_account_name is not None:
        return []
    return [render("serviceaccount", metadata=_metadata(server, names.service_account(server.name)))]


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
    service = server.spec.service
    return render(
        "service",
        metadata=_metadata(server, names.service(server.name), annotations=service.annotations),
        type=service.type,
        selector=names.selector(server.name),
        port=service.port,
    )


def _disruption_budget(observed: Observed) -> list[Manifest]:
    """The budget of a server with several replicas; for a single one it would only block a node's drain."""
    server = observed.server
    if _pods_wanted(observed) <= 1:
        return []
    return [
        render(
            "poddisruptionbudget",
            metadata=_metadata(server, names.disruption_budget(server.name)),
            selector=names.selector(server.name),
        )
    ]


def _record(observed: Observed, inputs: Inputs, template: Manifest) -> Manifest:
    newest = observed.records[-1].revision if observed.records else 0
    manifest = render(
        "controllerrevision",
        metadata=_metadata(observed.server, names.record(observed.server.name, inputs.digest)),
        revision=newest + 1,
        inputs=inputs.values,
        renderer=records.renderer(),
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
        progress_deadline_seconds=(
            server.spec.rollout.progress_deadline_seconds
            or server.spec.warmup.timeout_seconds + PROGRESS_MARGIN_SECONDS
        ),
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


def _pods_wanted(observed: Observed) -> int:
    """How many pods there are to be, whoever says so."""
    deployment, replicas = observed.deployment, _replicas(observed)
    if replicas is None and deployment is not None:
        return deployment.wanted_replicas
    return replicas or 0


def _surges(observed: Observed) -> bool:
    """Whether a new pod may start beside an old one: only where both can mount the cache.

    For a given claim that does not exist no old pod has to go: the new one could not start anyway.
    """
    cache = observed.server.spec.cache
    if cache.claim_name is None:
        return "ReadWriteMany" in (cache.access_modes or ())
    return observed.claim is None or "ReadWriteMany" in observed.claim.access_modes
