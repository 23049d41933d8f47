"""What should be of an FP8Quantization: two Jobs, and a record of what they have found.

The prefetch alone has a token and a network; it brings the model and stages the dataset. The calibration
alone has cards. What each has found stands in its termination message, and then in a record, which outlives
the Jobs.
"""

import hashlib
import json
from collections.abc import Collection, Hashable, Mapping
from datetime import datetime, timedelta
from typing import Any

from vllm_operator.api.fp8quantization import FP8Quantization
from vllm_operator.api.observed import Observed
from vllm_operator.api.quantized import (
    ObservedQuantization,
    QuantizationTarget,
    Result,
    Staged,
    User,
)
from vllm_operator.api.seen import Child, JobFacts, Manifest, PodFacts
from vllm_operator.desired import claims, devices, images, jobs, names, network, profile, recipe, records
from vllm_operator.desired.defaults import Defaults, Image
from vllm_operator.desired.manifests import Desired
from vllm_operator.desired.metadata import metadata
from vllm_operator.desired.render import render

_MADE_ANEW = (
    "An image cannot change: delete this FP8Quantization, and make it with one of those, or without "
    "spec.image and spec.engine to take the default image"
)


def aim(
    observed: ObservedQuantization, defaults: Defaults, staged: Staged | None = None
) -> QuantizationTarget:
    """What is aimed at for a quantization.

    `staged` stands for what the prefetch has yet to find. Raises StalledError (InvalidForEngine,
    CacheNotShareable, ImageNotAllowed).
    """
    quantization = observed.quantization
    claims.check(observed.claim, "spec.cache.claimName")
    image = _image(observed, defaults)
    if not any(record.image == image.image for record in observed.records):
        images.check(image.image, defaults, remedy=_MADE_ANEW)
    family, version = image.engine.split()
    profile.find(family, version, "gaudi")
    staged = _staged(observed, image) or staged
    result, fingerprint = _recorded(observed), None
    if result is not None:
        # Whatever a later version would hash: the recipe of a quantization never changes.
        fingerprint = result.artifacts.fingerprint
    elif staged is not None:
        fingerprint = recipe.fingerprint(quantization.spec, image, staged)
        result = _reported(observed, fingerprint)
    job = None
    if fingerprint is None:
        job = names.prefetch_job(quantization, recipe.of_prefetch(quantization.spec, image))
    elif result is None:
        job = names.calibration_job(quantization, fingerprint)
    return QuantizationTarget(image.image, image.engine, job, fingerprint, staged, result)


def desired(
    observed: ObservedQuantization, defaults: Defaults, staged: Staged | None = None
) -> Desired[QuantizationTarget]:
    """Everything that should be for a quantization, in the order in which it is to be applied.

    `staged` stands for what the prefetch has yet to find. Raises StalledError (InvalidForEngine,
    CacheNotShareable, ImageNotAllowed).
    """
    quantization, target = observed.quantization, aim(observed, defaults, staged)
    manifests = [*_service_account(quantization), *_record(observed, target)]
    if target.job is not None:
        if target.staged is None or target.fingerprint is None:
            work = recipe.prefetch(observed, defaults)
        else:
            work = recipe.calibration(observed, target.staged, target.fingerprint, defaults)
        image = Image(target.image, target.engine)
        manifests += network.of_job(quantization, work.component)
        manifests.append(jobs.program(quantization, work.program, work.component))
        manifests.append(jobs.job(quantization, target.job, image, work, defaults))
    return Desired(target, tuple(manifests))


def _image(observed: ObservedQuantization, defaults: Defaults) -> Image:
    """The image: that of the spec, or the default as it was when it was first used."""
    spec, records = observed.quantization.spec, observed.records
    if spec.image is not None and spec.engine is not None:
        return Image(spec.image, f"{spec.engine.family} {spec.engine.version}")
    # A record that somebody has spoiled may hold none.
    pinned = [Image(record.image, record.engine) for record in records if len(record.engine.split()) == 2]
    return pinned[-1] if pinned else defaults.images["gaudi"]


def _staged(observed: ObservedQuantization, image: Image) -> Staged | None:
    """What is in the cache for a calibration to begin with."""
    spec = observed.quantization.spec
    recorded = [record.staged for record in observed.records if record.staged]
    if recorded:
        return recorded[-1]
    if spec.existing is not None:
        return recipe.nothing_staged(spec)
    job = names.prefetch_job(observed.quantization, recipe.of_prefetch(spec, image))
    return next((recipe.staged(spec, pod) for _, pod in _ended_well(observed, job)), None)


def _recorded(observed: ObservedQuantization) -> Result | None:
    """The result that a record holds."""
    found = [record.result for record in observed.records if record.result]
    return found[-1] if found else None


def new_result(observed: ObservedQuantization, target: QuantizationTarget) -> Result | None:
    """The result of a calibration that no record holds yet; None for files that were made by hand."""
    if observed.quantization.spec.existing is not None or _recorded(observed) is not None:
        return None
    return target.result


def _reported(observed: ObservedQuantization, fingerprint: str) -> Result | None:
    """The result that a calibration reports. That of another recipe is none, whenever it comes."""
    spec, job = observed.quantization.spec, names.calibration_job(observed.quantization, fingerprint)
    found = (recipe.result(spec, fingerprint, made, pod) for made, pod in _ended_well(observed, job))
    return next((result for result in found if result), None)


def _ended_well(observed: ObservedQuantization, name: str) -> list[tuple[JobFacts, PodFacts]]:
    """A Job of the quantization's own, with each of its pods whose container has succeeded."""
    job = observed.children.get(("Job", name))
    if not isinstance(job, JobFacts) or job.owner != observed.quantization.uid:
        return []
    # By uid: a Job that was made anew has the name of the one before, and may meet its pods.
    return [(job, pod) for pod in observed.pods if pod.job_uid == job.uid and pod.exit_code == 0]


def _service_account(quantization: FP8Quantization) -> list[Manifest]:
    if quantization.spec.service_account_name is not None:
        return []
    return [render("serviceaccount", metadata=metadata(quantization, names.service_account(quantization)))]


def _record(observed: ObservedQuantization, target: QuantizationTarget) -> list[Manifest]:
    """The record of all that is known so far, unless there is one."""
    quantization = observed.quantization
    data: dict[str, Any] = {"image": target.image, "engine": target.engine}
    if target.staged is not None:
        data["staged"] = target.staged._asdict()
    if target.result is not None:
        data["result"] = recipe.write(target.result)
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:10]
    name = names.record(quantization, digest)
    if any(record.name == name for record in observed.records):
        return []
    newest = observed.records[-1].revision if observed.records else 0
    manifest = render(
        "record",
        metadata=metadata(quantization, name, component=names.CALIBRATION),
        revision=newest + 1,
        data=data,
    )
    return [manifest]


def read_record(body: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in a record: the fields of a QuantizationRecord that are its own."""
    data = body.get("data") or {}
    staged, result = data.get("staged") or {}, data.get("result") or {}
    return {
        "revision": body["revision"],
        "image": str(data.get("image", "")),
        "engine": str(data.get("engine", "")),
        "staged": recipe.read_staged(staged),
        "result": recipe.read(result),
    }


def basis(observed: ObservedQuantization) -> Hashable:
    """All that `desired` looks at: while it is the same, so is what should be."""
    quantization, claim = observed.quantization, observed.claim
    return (
        (quantization.uid, quantization.generation),
        tuple((record.name, record.uid) for record in observed.records),
        frozenset((pod.job_uid, pod.last_words) for pod in observed.pods if pod.exit_code == 0),
        frozenset((child.uid, child.owner) for child in observed.children.values() if child.kind == "Job"),
        (claim.access_modes, claim.phase) if claim else None,
        recipe.holders(observed),
        recipe.shared(observed),
    )


def superfluous(
    observed: ObservedQuantization, wanted: Collection[tuple[str, str]], target: QuantizationTarget, now: str
) -> tuple[Child, ...]:
    """Children of ours that may be deleted. `now` (RFC 3339) decides about a Job that is kept for a time."""
    # Each record holds what the one before held.
    old: list[Child] = [*observed.records[:-1]]
    for ref, child in observed.children.items():
        unneeded = child.kind in ("ConfigMap", "Job", "NetworkPolicy", "ServiceAccount") and ref not in wanted
        if (unneeded and not _kept(observed, child, target, now)) or _to_be_made_anew(observed, child):
            old.append(child)
    return tuple(child for child in old if not child.deleting and child.owner == observed.quantization.uid)


def expiry(observed: ObservedQuantization, target: QuantizationTarget) -> str | None:
    """When the Job of a calibration that has succeeded is to go (RFC 3339)."""
    seconds, result = observed.quantization.spec.ttl_seconds_after_finished, target.result
    if seconds is None or result is None or _done(observed, target) is None:
        return None
    end = datetime.fromisoformat(result.completed_at) + timedelta(seconds=seconds)
    return end.strftime("%Y-%m-%dT%H:%M:%SZ")


def _done(observed: ObservedQuantization, target: QuantizationTarget) -> Child | None:
    name = names.calibration_job(observed.quantization, target.fingerprint or "")
    return observed.children.get(("Job", name)) if target.result else None


def _kept(observed: ObservedQuantization, child: Child, target: QuantizationTarget, now: str) -> bool:
    """Whether it is the Job whose result is recorded, which is kept for its log for a time."""
    if child is not _done(observed, target):
        return False
    end = expiry(observed, target)
    return end is None or now < end


def _to_be_made_anew(observed: ObservedQuantization, child: Child) -> bool:
    """Whether a Job is to be tried again, can tell nothing, or waits where nobody is any more."""
    if not isinstance(child, JobFacts):
        return False
    over = child.failed or child.succeeded
    if over and child.retry < observed.quantization.spec.retry and not _told(observed, child):
        return True
    pods = [pod for pod in observed.pods if pod.job_uid == child.uid]
    left = child.beside and not recipe.holders(observed) and any(pod.unschedulable for pod in pods)
    return left or (child.succeeded and not pods and not _told(observed, child))


def _told(observed: ObservedQuantization, job: Child) -> bool:
    """Whether what a Job has found is recorded."""
    fetches = names.is_prefetch(observed.quantization, job.name)
    return any(record.staged if fetches else record.result for record in observed.records)


def user(observed: Observed) -> User:
    """What a quantization knows of a server that names it."""
    spec, deployment = observed.server.spec, observed.deployment
    replicas = deployment.replicas if deployment else 0
    running = records.running(observed)
    return User(
        name=observed.server.name,
        claim=names.claim(observed.server),
        held=observed.held,
        cards=devices.cards(spec) * replicas,
        fp8=running is not None and running.fp8,
    )
