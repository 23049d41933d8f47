"""What is true of an FP8Quantization."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vllm_operator.api.calibration import STEPS
from vllm_operator.api.gaudi import CARD
from vllm_operator.api.observed import QuantizationState
from vllm_operator.api.quantized import ObservedQuantization, QuantizationTarget, User
from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.api.status import ArtifactsStatus, CalibrationProgress, FP8QuantizationStatus
from vllm_operator.desired import names
from vllm_operator.status import jobs, pods
from vllm_operator.status.conditions import Transition, Verdict, conditions
from vllm_operator.status.view import View

MOST_USERS = 64
_STEPS: tuple[str, ...] = STEPS


def _of(view: View) -> tuple[ObservedQuantization, QuantizationTarget]:
    observed, target = view.observed, view.target
    assert isinstance(observed, ObservedQuantization)  # noqa: S101 - these are checks of quantizations
    assert isinstance(target, QuantizationTarget)  # noqa: S101
    return observed, target


def no_cards(view: View) -> Verdict | None:
    """No node has as many free cards as the calibration needs."""
    observed, _ = _of(view)
    pod = view.first(lambda pod: f"Insufficient {CARD}" in pod.unschedulable)
    if pod is None:
        return None
    words = pods.sentence(pod.unschedulable)
    asked = observed.quantization.spec.tensor_parallel_size
    needs = f"{words} The calibration needs {asked} free cards on one node"
    with_cards = [user for user in observed.users if user.cards]
    if not with_cards:
        message = f"{needs}: free cards, or add nodes. Who has them: `kubectl get pods -A -o wide`"
        return Verdict(False, Reason.WAITING_FOR_ACCELERATORS, message)
    listed = ", ".join(f"{user.name} ({user.cards})" for user in with_cards)
    job = jobs.job_of(view)
    beside = job is not None and job.beside
    other = "give a claim that is ReadWriteMany and a" if beside else "add a"
    stop = _stop(view, with_cards[0])
    message = (
        f"{needs}, and servers that name this quantization have cards: {listed}. Nothing is taken "
        f"from a server that serves. Either stop one until the calibration is done ({stop}), or {other} "
        "node with free cards"
    )
    return Verdict(False, Reason.WAITING_FOR_ACCELERATORS, message)


def _stop(view: View, user: User) -> str:
    """The line that stops a server for as long as the calibration takes."""
    if user.fp8:  # a revision that serves in FP8 goes on, whatever it waits for
        return view.kubectl(f"scale vllm/{user.name} --replicas=0")
    line = view.kubectl(
        f'patch vllm {user.name} --type=merge -p \'{{"spec":{{"fp8":{{"whilePending":"Wait"}}}}}}\''
    )
    return f"by spec.fp8.whilePending: Wait: {line}"


def no_room_beside(view: View) -> Verdict | None:
    """The node on which servers hold the claim has no room for the Job's pod."""
    job, pod = jobs.job_of(view), view.first(lambda pod: pod.unschedulable)
    if job is None or not job.beside or pod is None:
        return None
    message = (
        f"{pods.sentence(pod.unschedulable)} The Job runs beside the pods that hold claim "
        f"{names.claim(view.resource)}: free room on their node, or give a claim that is ReadWriteMany"
    )
    return Verdict(False, Reason.UNSCHEDULABLE, message)


def working(view: View) -> Verdict:
    """A Job runs: what is left to say when nothing keeps it from its end."""
    observed, target = _of(view)
    pod = view.first(lambda pod: pod.started_at)
    since = f" since {pod.started_at}" if pod else ""
    logs = view.kubectl(f"logs -f job/{view.job}")
    claim = names.claim(view.resource)
    if target.staged is None:
        message = f"Job {view.job} brings model and dataset into claim {claim}{since}. See {logs}"
        return Verdict(False, Reason.PREFETCHING, message)
    existing = observed.quantization.spec.existing
    does = f"checks the files in {existing.path}" if existing else "measures the model"
    message = f"Job {view.job} {does}{since}. See {logs}" if pod else f"Job {view.job} waits for its pod"
    return Verdict(False, Reason.CALIBRATING, message)


def readiness(view: View) -> Verdict:
    """Whether a quantization is ready, and why."""
    _, target = _of(view)
    if target.result is None:
        trouble = jobs.trouble(view, [no_cards, no_room_beside])
        return _correctable(view, trouble) if trouble else working(view)
    found = target.result
    message = (
        f"For {found.artifacts.generation} and tensorParallelSize {found.world_size}: "
        f"{found.artifacts.quant_config}{_caveat(view)}"
    )
    return Verdict(True, Reason.CALIBRATED, message)


def _correctable(view: View, trouble: Verdict) -> Verdict:
    """A remedy that names a field is to say that the spec cannot change."""
    observed, _ = _of(view)
    of_server = trouble.reason == Reason.WAITING_FOR_ACCELERATORS
    if "spec" not in trouble.message or "fp8q" in trouble.message or of_server:
        return trouble
    return replace(trouble, message=f"{trouble.message.rstrip('.')}; {jobs.anew(observed)}")


def _caveat(view: View) -> str:
    """What is known of a model's family (vllm-gaudi 0.26, calibration/README.md and docs, inc.md)."""
    name = view.resource.spec.model.name.rpartition("/")[2].lower()
    if name.startswith("mixtral"):
        return ". Of Mixtral, attention and the last layer stay in BF16: compare its answers first"
    return ""


def judge(
    observed: ObservedQuantization,
    target: QuantizationTarget,
    *,
    previous: Mapping[str, Transition],
    now: str,
) -> FP8QuantizationStatus:
    """The status of a quantization whose children could be made."""
    view = View(observed, target, now)
    verdict = readiness(view)
    facts = {"Calibrated": verdict, "ArtifactsVerified": _verified(target)}
    status = _status(observed, verdict, facts, previous, now)
    found, staged = target.result, target.staged
    more: dict[str, Any] = {
        "image": target.image,
        "fingerprint": target.fingerprint,
        "job_name": target.job,
        "model_revision": (staged.commit or None) if staged else None,
        "progress": progress(observed),
    }
    if found is not None:
        job = names.calibration_job(observed.quantization, found.artifacts.fingerprint)
        more |= {
            "job_name": job if ("Job", job) in observed.children else None,
            "generation": found.artifacts.generation,
            "world_size": found.world_size,
            "samples": found.samples,
            "quant_config_path": found.artifacts.quant_config,
            "output_path": found.artifacts.output,
            "artifacts": ArtifactsStatus(files=found.files, bytes=found.bytes, sha256=found.artifacts.sha256),
            "start_time": found.started_at,
            "completion_time": found.completed_at,
        }
    return status.model_copy(update=more)


def _verified(target: QuantizationTarget) -> Verdict | None:
    if target.result is None:
        return None
    message = f"{target.result.files} files are as {target.result.artifacts.manifest} lists them"
    return Verdict(True, Reason.CALIBRATED, message)


def progress(observed: ObservedQuantization) -> CalibrationProgress | None:
    """How far the Job that runs has come."""
    done = observed.progress
    if done is None:
        return None
    step = _STEPS.index(done.phase) + 1 if done.phase in _STEPS else 0
    measure = f" {done.done:,} of {done.total:,}" if done.total else ""
    left = f", {done.minutes_left} min left" if done.minutes_left is not None else ""
    return CalibrationProgress(
        step=step,
        steps=len(_STEPS),
        done=done.done,
        total=done.total,
        message=f"{done.phase}{measure}{left}",
    )


def judge_blocked(
    observed: ObservedQuantization, verdict: Verdict, *, previous: Mapping[str, Transition], now: str
) -> FP8QuantizationStatus:
    """The status of a quantization whose children could not all be made, for the reason in the verdict."""
    if "spec." in verdict.message:
        verdict = replace(verdict, message=f"{verdict.message.rstrip('.')}; {jobs.anew(observed)}")
    return _status(observed, verdict, {"Calibrated": verdict}, previous, now)


def judge_invalid(
    generation: int, verdict: Verdict, *, previous: Mapping[str, Transition], now: str
) -> FP8QuantizationStatus:
    """The status of an object that cannot be read."""
    said = conditions(verdict, {"Calibrated": verdict}, generation=generation, previous=previous, now=now)
    return FP8QuantizationStatus(observed_generation=generation, conditions=said)


def _status(
    observed: ObservedQuantization,
    verdict: Verdict,
    facts: Mapping[str, Verdict | None],
    previous: Mapping[str, Transition],
    now: str,
) -> FP8QuantizationStatus:
    generation = observed.quantization.generation
    return FP8QuantizationStatus(
        observed_generation=generation,
        conditions=conditions(verdict, facts, generation=generation, previous=previous, now=now),
        used_by=[user.name for user in observed.users[:MOST_USERS]] or None,
    )


def blocked(error: StalledError) -> QuantizationState:
    """What servers see of a quantization whose children cannot be made."""
    return QuantizationState(
        model="",
        revision=None,
        commit="",
        claim="",
        engine="",
        world_size=0,
        result=None,
        failure=str(error),
        waits="",
    )


def state(view: View) -> QuantizationState:
    """What servers see of a quantization whose children could be made."""
    observed, target = _of(view)
    spec, verdict = observed.quantization.spec, readiness(view)
    waits = verdict.reason not in (Reason.CALIBRATED, Reason.CALIBRATING, Reason.PREFETCHING)
    return QuantizationState(
        model=spec.model.name,
        revision=spec.model.revision,
        commit=target.staged.commit if target.staged else "",
        claim=names.claim(observed.quantization),
        engine=target.engine,
        world_size=spec.unify_to or spec.tensor_parallel_size,
        result=target.result.artifacts if target.result else None,
        failure=f"{verdict.reason}: {verdict.message}" if verdict.stalled else "",
        waits=verdict.reason if waits and not verdict.stalled else "",
    )
