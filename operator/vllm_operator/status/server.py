"""What is true of a VLLMServer: a list of checks, asked in order; the first that answers decides."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vllm_operator.api.observed import Observed, Quantizing, Target
from vllm_operator.api.reasons import Reason
from vllm_operator.api.status import QuantizationInUse, VLLMServerStatus, WarmupStatus
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.desired import names
from vllm_operator.status import accessories, fp8, microservice, pods, prefetch, verified, warmup
from vllm_operator.status.conditions import Transition, Verdict, conditions
from vllm_operator.status.view import Check, View

PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
"""Reason of a Deployment's Progressing condition (k8s.io/kubernetes v1.36.3,
pkg/controller/deployment/util)."""


def held(view: View) -> str:
    """What to know where another manager has set the Deployment's replicas: spec.replicas has no effect."""
    deployment, wanted = view.deployment, view.server.spec.replicas
    if deployment is None or not deployment.left_alone(wanted):
        return ""
    give_back = view.kubectl(f"scale deployment/{names.deployment(view.server.name)} --replicas={wanted}")
    return (
        f"{deployment.replicas_manager} has set the Deployment to {deployment.wanted_replicas} replicas, "
        f"not the {wanted} of spec.replicas. To give the number back to the spec: {give_back}"
    )


def suspended(view: View) -> Verdict | None:
    """Scaled to 0, and the last pod is gone."""
    deployment = view.deployment
    if deployment is None or deployment.wanted_replicas or deployment.replicas or not deployment.observed():
        return None
    start = view.kubectl(f"scale vllm/{view.server.name} --replicas=1")
    message = held(view) or f"Scaled to 0. To start it: {start}"
    return Verdict(True, Reason.SUSPENDED, message)


def serving(view: View) -> Verdict | None:
    """The Deployment is through with this revision, and somebody answers."""
    deployment = view.deployment
    if deployment is None or not deployment.wanted_replicas or not deployment.rolled_out(view.target.record):
        return None
    message = f"Serves at {names.url(view.server)}/v1"
    return Verdict(True, Reason.SERVING, ". ".join(filter(None, [message, held(view)])))


def pods_refused(view: View) -> Verdict | None:
    """The API server refuses the pods: a quota, an admission policy, Pod Security."""
    deployment = view.deployment
    if deployment is None or not deployment.failure or not deployment.observed():
        return None
    again = view.kubectl(f"rollout restart deployment/{names.deployment(view.server.name)}")
    return pods.refused("Pods are", deployment.failure, again)


def rolling_out(view: View) -> Verdict:
    """Nothing is wrong, and it is not done: what is left to say when no other check has answered."""
    deployment = view.deployment
    if deployment is None or not deployment.observed():
        return Verdict(False, Reason.ROLLING_OUT, "Waiting for the Deployment controller")
    pod = view.first(lambda pod: pod.waiting_message)
    detail = f". Pod {pod.name} waits: {pod.waiting}: {pod.waiting_message}" if pod else ""
    message = (
        f"{deployment.updated_replicas} of {deployment.wanted_replicas} pods are of the revision asked for, "
        f"{deployment.ready_replicas} answer{detail}"
    )
    return Verdict(False, Reason.ROLLING_OUT, message)


READINESS: tuple[Check, ...] = (
    suspended,
    serving,
    # From here on: what keeps it from serving, the nearest cause first.
    pods_refused,
    pods.cache_unbound,
    pods.image_pull_failed,
    pods.secret_not_found,
    pods.container_not_created,
    pods.mount_failed,
    fp8.artifacts_changed,
    pods.out_of_memory,
    pods.crash_looping,
    pods.evicted,
    pods.unschedulable,
    warmup.warming_up,
)


def readiness(view: View) -> Verdict:
    """Whether a server is ready, and why."""
    if view.job:
        return prefetch.judge(view)
    return fp8.pending(view) or fp8.misfit(view, _of_pods(view))


def _of_pods(view: View) -> Verdict:
    """Whether the pods that are aimed at are ready, and why."""
    found = (check(view) for check in READINESS)
    verdict = next((verdict for verdict in found if verdict is not None), None) or rolling_out(view)
    return _paused(view, _overdue(view, verdict))


def _overdue(view: View, verdict: Verdict) -> Verdict:
    """What keeps a rollout from going on has lasted longer than its deadline."""
    deployment = view.deployment
    if verdict.ready or deployment is None or deployment.progressing != PROGRESS_DEADLINE_EXCEEDED:
        return verdict
    # The Deployment may speak of the revision before, which an edit has just replaced.
    if deployment.record != view.target.record or not deployment.observed():
        return verdict
    message = (
        "The rollout has made no progress for spec.rollout.progressDeadlineSeconds. Mend the cause, or go "
        f"back to the spec as it was. {verdict.reason}: {verdict.message}"
    )
    return Verdict(False, Reason.ROLLOUT_FAILED, message, stalled=True)


def _paused(view: View, verdict: Verdict) -> Verdict:
    """What is ready stays so, and nothing will be changed."""
    if not (verdict.ready and view.server.spec.paused):
        return verdict
    message = f"{verdict.message}. spec.paused is true: nothing is changed. Resume: {view.resume()}"
    return replace(verdict, reason=Reason.PAUSED, message=message)


def availability(observed: Observed, readiness: Verdict) -> Verdict:
    """Whether as many pods answer as are wanted, of whatever revision."""
    deployment = observed.deployment
    ready, wanted = (deployment.ready_replicas, deployment.wanted_replicas) if deployment else (0, 0)
    if wanted and ready >= wanted:
        return Verdict(True, Reason.SERVING, "Every replica answers")
    if not readiness.ready or not wanted:
        return Verdict(False, readiness.reason, readiness.message)
    return Verdict(False, Reason.ROLLING_OUT, f"{ready} of {wanted} replicas answer")


def judge(
    observed: Observed, target: Target, *, previous: Mapping[str, Transition], now: str
) -> VLLMServerStatus:
    """The status of a server whose children could be made."""
    view = View(observed, target, now)
    verdict = readiness(view)
    serving = _of_pods(view) if fp8.serves_on(view) and not view.job else verdict
    facts = {
        "ModelCached": prefetch.cached(view, verdict),
        "Quantized": fp8.quantized(view),
        "Available": availability(observed, serving),
        **_accessories(observed, serving, target.microservice),
        "Verified": verified.judge(view, observed.answer, previous.get("Verified")),
    }
    status = _status(observed, verdict, facts, previous, now)
    cached = target.prefetch.cached if target.prefetch else None
    more = {
        **_precision(observed.server, target.quantizing),
        "image": target.image,
        "refresh_available": target.refresh_available,
        "model_revision": cached.commit if cached else None,
        "warmup": _warmup(observed),
    }
    return status.model_copy(update=more)


def _accessories(observed: Observed, readiness: Verdict, record: str = "") -> dict[str, Verdict | None]:
    return {
        "Autoscaled": accessories.autoscaled(observed, readiness),
        "Monitored": accessories.monitored(observed),
        "MicroserviceReady": microservice.judge(observed, record),
    }


def _warmup(observed: Observed) -> WarmupStatus | None:
    done = observed.progress
    return WarmupStatus(phase=done.phase, done=done.done, total=done.total) if done else None


def judge_blocked(
    observed: Observed, verdict: Verdict, *, previous: Mapping[str, Transition], now: str
) -> VLLMServerStatus:
    """The status of a server whose children could not all be made, for the reason in the verdict."""
    facts = {
        "Available": availability(observed, verdict),
        **_accessories(observed, verdict),
        "Verified": verified.kept(observed, previous.get("Verified")),
    }
    return _status(observed, verdict, facts, previous, now)


def judge_invalid(
    generation: int, verdict: Verdict, *, previous: Mapping[str, Transition], now: str
) -> VLLMServerStatus:
    """The status of an object that cannot be read."""
    said = conditions(verdict, {"Available": verdict}, generation=generation, previous=previous, now=now)
    return VLLMServerStatus(observed_generation=generation, conditions=said)


def _status(
    observed: Observed,
    verdict: Verdict,
    facts: Mapping[str, Verdict | None],
    previous: Mapping[str, Transition],
    now: str,
) -> VLLMServerStatus:
    server, deployment = observed.server, observed.deployment
    return VLLMServerStatus(
        observed_generation=server.generation,
        conditions=conditions(verdict, facts, generation=server.generation, previous=previous, now=now),
        replicas=deployment.replicas if deployment else 0,
        ready_replicas=deployment.ready_replicas if deployment else 0,
        selector=names.selector_text(server.name),
        url=names.url(server),
        **_precision(server, None),
    )


def _precision(server: VLLMServer, quantizing: Quantizing | None) -> dict[str, Any]:
    """In which precision the revision that is aimed at serves, and by which calibration, as far as known."""
    if quantizing is not None and quantizing.precision == "fp8":
        used = quantizing.used
        of = QuantizationInUse(name=used.name, fingerprint=used.artifacts.fingerprint) if used else None
        return {"precision": "fp8", "quantization": of}
    known = server.spec.engine_args.dtype == "bfloat16" and (
        server.spec.fp8 is None or quantizing is not None
    )
    return {"precision": "bf16" if known else None}
