"""The children of a VLLMServer."""

from collections.abc import Collection, Hashable
from dataclasses import replace

from vllm_operator.api.observed import Cached, Observed, Prefetch, Quantizing, RecordFacts, Target
from vllm_operator.api.reasons import StalledError
from vllm_operator.api.seen import Child, Manifest, Ref, Refusal
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.desired import (
    accessories,
    claims,
    devices,
    images,
    microservice,
    names,
    network,
    prefetch,
    promotion,
    records,
)
from vllm_operator.desired.canonical import digest
from vllm_operator.desired.defaults import Defaults
from vllm_operator.desired.manifests import Desired
from vllm_operator.desired.metadata import metadata
from vllm_operator.desired.pod import check_engine, pod_template
from vllm_operator.desired.records import Inputs
from vllm_operator.desired.render import render

PROGRESS_MARGIN_SECONDS = 1800
"""Added to the startup budget before a rollout counts as stuck: scheduling, volumes, the image."""
PREFETCH_KINDS = frozenset({"ConfigMap", "Job"})
"""Kinds that are of use only while the cache is being filled."""
NEEDLESS_AT_ONCE = PREFETCH_KINDS | {"NetworkPolicy"}
"""Kinds that no pod needs, whatever revision it is of."""
OPTIONAL_KINDS = frozenset({"PodDisruptionBudget", "ServiceAccount"})
"""Kinds of which a server may have had a child that it no longer wants."""


def desired(observed: Observed, defaults: Defaults, cached: Cached | None = None) -> Desired[Target]:
    """Everything that should be for a server, in the order in which it is to be applied.

    Its microservice comes last, and does not depend on how far the server is. `cached` stands for what the
    prefetch has yet to find. Raises StalledError(InvalidForEngine) when the engine cannot do what the spec
    asks for, StalledError(ImageNotAllowed) for a new revision.
    """
    wanted = _of_server(observed, defaults, cached)
    stale = wanted.target.refresh_available or microservice.is_stale(observed, defaults)
    aimed = microservice.aim(observed, defaults)
    target = replace(wanted.target, refresh_available=stale, microservice=aimed)
    try:
        beside = microservice.manifests(observed, defaults)
    except StalledError as error:
        return Desired(target, wanted.manifests, {names.MICROSERVICE: Refusal(error.reason, error.message)})
    return Desired(target, (*wanted.manifests, *beside))


def _of_server(observed: Observed, defaults: Defaults, cached: Cached | None) -> Desired[Target]:
    """Everything that should be for the server itself."""
    server = observed.server
    claims.check(observed.claim, "spec.cache.claimName")
    devices.check_recipes(observed)
    image, pinned = records.image(observed, defaults)
    wanted = prefetch.find(observed, image)
    if wanted is not None and cached is not None:
        wanted = replace(wanted, cached=cached)
    quantizing = promotion.find(observed, image, wanted, defaults)
    inputs = records.inputs(
        server,
        image,
        pinned=pinned,
        cached=wanted.cached if wanted else None,
        quantization=quantizing.used if quantizing else None,
    )
    recorded = records.find(observed, inputs.digest)
    if recorded is None:
        images.check(image.image, defaults, pinned=pinned)
    # A server that an operator without prefetch has made is left as it is.
    if wanted is not None and wanted.cached is None and recorded is None:
        return _prefetching(observed, inputs, wanted, quantizing, defaults)
    if quantizing is not None and quantizing.held:
        return _holding(observed, inputs, wanted, quantizing)
    target = Target(inputs.digest, image.image, False, wanted, quantizing)
    manifests = _around(observed)
    template = records.unpack(recorded.content) if recorded else pod_template(server, inputs, defaults)
    if recorded is None:
        manifests.append(_record(observed, inputs, template, defaults))
    none = promotion.empties(observed, quantizing)
    manifests += [_service(server), *_pods(observed, template, none=none)]
    manifests += accessories.manifests(observed)
    stale = recorded is not None and _is_stale(server, recorded, inputs, defaults)
    return Desired(replace(target, refresh_available=stale), tuple(manifests))


def _prefetching(
    observed: Observed, inputs: Inputs, wanted: Prefetch, quantizing: Quantizing | None, defaults: Defaults
) -> Desired[Target]:
    """What should be until the cache is filled: no pods yet, or those of the revision before."""
    server = observed.server
    # What the engine refuses is said before anything is downloaded for it.
    check_engine(server, inputs)
    manifests = [*_around(observed), _service(server)]
    running = records.running(observed)
    if running is not None:
        none = promotion.empties(observed, quantizing)
        manifests += _pods(observed, records.unpack(running.content), none=none)
    manifests += accessories.manifests(observed)
    # Last: what refuses the Job must not keep what serves from being scaled.
    manifests += prefetch.manifests(observed, inputs.image, wanted.job, defaults)
    return Desired(Target("", inputs.image.image, False, wanted, quantizing), tuple(manifests))


def _holding(
    observed: Observed, inputs: Inputs, wanted: Prefetch | None, quantizing: Quantizing
) -> Desired[Target]:
    """What should be while the revision that serves in FP8 goes on: its pods, as many as are asked for."""
    server, deployment, running = observed.server, observed.deployment, records.running(observed)
    assert deployment is not None  # noqa: S101 - or nothing would be held
    assert deployment.record is not None  # noqa: S101
    assert running is not None  # noqa: S101
    manifests = [*_around(observed), _service(server)]
    manifests += _pods(observed, records.unpack(running.content))
    manifests += accessories.manifests(observed)
    target = Target(deployment.record, inputs.image.image, False, wanted, quantizing)
    return Desired(target, tuple(manifests))


def superfluous(observed: Observed, wanted: Collection[Ref], target: Target) -> tuple[Child, ...]:
    """Children of ours that may be deleted: no manifest wants them any more, or no way back needs them."""
    # What there is of the microservice is told of by its own function.
    own = names.microservice(observed.server.name)
    children = [(ref, child) for ref, child in observed.children.items() if ref[1] != own]
    held = target.quantizing is not None and target.quantizing.held
    # While a revision is held there is no record of what the prefetch has found: its Job alone tells.
    needless = [child for ref, child in children if ref[0] in NEEDLESS_AT_ONCE and ref not in wanted]
    old = [child for child in needless if not (held and _tells(child, observed, target))]
    old += accessories.superfluous(observed, wanted)
    if target.record:
        old += records.superfluous(observed, target.record)
    deployment = observed.deployment
    # Until a revision is rolled out, pods of the one before may need what only that one wants.
    if deployment is not None and deployment.rolled_out(target.record) and not held:
        # The microservice's pods have the server's account too, and a rollout of their own.
        kinds = OPTIONAL_KINDS - ({"ServiceAccount"} if observed.server.spec.microservice.enabled else set())
        old += [child for ref, child in children if ref[0] in kinds and ref not in wanted]
    old += microservice.superfluous(observed)
    if target.prefetch is not None and prefetch.useless(observed, target.prefetch):
        old.append(observed.children["Job", target.prefetch.job])
    return tuple(child for child in old if not child.deleting and child.owner == observed.server.uid)


def _tells(child: Child, observed: Observed, target: Target) -> bool:
    """Whether a child belongs to the prefetch of the revision that is asked for."""
    job = ("Job", target.prefetch.job if target.prefetch else "")
    return (child.kind, child.name) in (job, ("ConfigMap", names.script(observed.server)))


def _is_stale(server: VLLMServer, recorded: RecordFacts, inputs: Inputs, defaults: Defaults) -> bool:
    if inputs.pinned and inputs.image != defaults.images[server.spec.device]:
        return True
    if recorded.renderer == records.renderer(defaults):
        return False
    try:
        template = pod_template(server, inputs, defaults)
    except StalledError:
        return False  # what the present operator would not make is nothing to take
    return digest({"spec": template}) != digest({"spec": records.unpack(recorded.content)})


def basis(observed: Observed) -> Hashable:
    """All that `desired` looks at: while it is the same, so is what should be."""
    server, claim = observed.server, observed.claim
    return (
        (server.uid, server.generation),
        tuple((record.name, record.uid) for record in observed.records),
        (claim.size, claim.access_modes) if claim else None,
        _replicas(observed),
        _pods_wanted(observed),
        prefetch.basis(observed),
        microservice.basis(observed),
        promotion.basis(observed),
        accessories.basis(observed),
    )


def _around(observed: Observed) -> list[Manifest]:
    """What pods find when they are made: their account, the policies for their network, the cache."""
    return [*_service_account(observed.server), *network.of_server(observed), *claims.manifests(observed)]


def _service_account(server: VLLMServer) -> list[Manifest]:
    """The account of the pods, unless one was given."""
    if server.spec.service_account_name is not None:
        return []
    return [render("serviceaccount", metadata=metadata(server, names.service_account(server)))]


def _service(server: VLLMServer) -> Manifest:
    service = server.spec.service
    return render(
        "service",
        metadata=metadata(server, names.service(server.name), annotations=service.annotations),
        type=service.type,
        selector=names.selector(server.name),
        port=service.port,
    )


def _pods(observed: Observed, template: Manifest, *, none: bool = False) -> list[Manifest]:
    """What makes and guards the pods; with `none` there are to be none, whoever has set another number."""
    replicas = 0 if none else _replicas(observed)
    budget = [] if none else _disruption_budget(observed)
    return [*budget, _deployment(observed, template, replicas)]


def _disruption_budget(observed: Observed) -> list[Manifest]:
    """The budget of a server with several replicas; for a single one it would only block a node's drain."""
    server = observed.server
    if _pods_wanted(observed) <= 1:
        return []
    return [
        render(
            "poddisruptionbudget",
            metadata=metadata(server, names.disruption_budget(server.name)),
            selector=names.selector(server.name),
        )
    ]


def _record(observed: Observed, inputs: Inputs, template: Manifest, defaults: Defaults) -> Manifest:
    newest = observed.records[-1].revision if observed.records else 0
    manifest = render(
        "controllerrevision",
        metadata=metadata(observed.server, names.record(observed.server, inputs.digest)),
        revision=newest + 1,
        inputs=inputs.values,
        renderer=records.renderer(defaults),
    )
    manifest["data"]["template"] = template
    return manifest


def _deployment(observed: Observed, template: Manifest, replicas: int | None) -> Manifest:
    server = observed.server
    surges = _surges(observed)
    manifest = render(
        "deployment",
        metadata=metadata(server, names.deployment(server.name)),
        replicas=replicas,
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
    return None if deployment is not None and deployment.left_alone(wanted) else wanted


def _pods_wanted(observed: Observed) -> int:
    """How many pods there are to be, whoever says so."""
    deployment, replicas = observed.deployment, _replicas(observed)
    if replicas is None and deployment is not None:
        return deployment.wanted_replicas
    return replicas or 0


def _surges(observed: Observed) -> bool:
    """Whether a new pod may start beside an old one: only where both can mount the cache, and on no cards.

    Cards are scarce: a server on Gaudi never needs spare ones to roll. For a given claim that does not exist
    no old pod has to go: the new one could not start anyway.
    """
    server, claim = observed.server, observed.claim
    cache = server.spec.cache
    if cache.claim_name is not None and claim is None:
        return True
    given = claim.access_modes if cache.claim_name is not None and claim is not None else cache.access_modes
    return server.spec.device != "gaudi" and "ReadWriteMany" in (given or ())
