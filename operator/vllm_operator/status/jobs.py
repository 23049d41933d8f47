"""What is true of a resource that waits for a Job of ours: one check for each cause."""

from collections.abc import Sequence

from vllm_operator.api import calibration, prefetch
from vllm_operator.api.calibration import CalibrationFailure
from vllm_operator.api.prefetch import EXIT_ACT, PrefetchFailure
from vllm_operator.api.quantized import ObservedQuantization
from vllm_operator.api.reasons import Reason
from vllm_operator.api.seen import JobFacts
from vllm_operator.desired import names
from vllm_operator.status import pods
from vllm_operator.status.conditions import Verdict
from vllm_operator.status.view import Check, View

DEADLINE_EXCEEDED = "DeadlineExceeded"
"""How the Job controller calls an end by `activeDeadlineSeconds` (k8s.io/api v0.36.3, batch/v1,
JobReasonDeadlineExceeded)."""

OF_THE_SPEC = frozenset(
    {
        *(Reason.CALIBRATION_TOOL_MISSING, Reason.DATASET_INVALID, Reason.DATASET_NOT_FOUND),
        *(Reason.GENERATION_MISMATCH, Reason.MODEL_NOT_FOUND, Reason.OUT_OF_DEVICE_MEMORY),
        *(Reason.OUT_OF_MEMORY, Reason.DEADLINE_EXCEEDED, Reason.UNIFY_FAILED),
    }
)
"""Reasons for which another try of the same recipe may well fail the same way."""


def job_of(view: View) -> JobFacts | None:
    """The Job that is waited for, if there is one."""
    child = view.observed.children.get(("Job", view.job or ""))
    return child if isinstance(child, JobFacts) else None


def _last_try(view: View) -> tuple[Reason, str] | None:
    """Why the last try has ended, in the program's words or the container's."""
    tries = view.tries()
    if not tries:
        return None
    last = tries[-1]
    calibrates = last.container == names.CALIBRATION
    reason = Reason.CALIBRATION_FAILED if calibrates else Reason.PREFETCH_FAILED
    if last.exit_code == 0:
        words = last.last_words.strip() or "nothing"
        return reason, f"The {last.container} has ended, and its report is not what was asked for: {words}"
    read = calibration.read_report if calibrates else prefetch.read_report
    said = read(last.last_words)
    if isinstance(said, PrefetchFailure | CalibrationFailure):
        return said.reason, said.message
    if last.end_reason == pods.OOM_KILLED:
        return Reason.OUT_OF_MEMORY, _out_of_memory(view, last.name)
    words = last.last_words.strip() or "no last words"
    return reason, f"The {last.container} ended with exit code {last.exit_code}: {words}"


def _out_of_memory(view: View, pod: str) -> str:
    limit = (view.resource.spec.resources.limits or {}).get("memory")
    of = f"its limit of {limit}" if limit else "what the node has"
    return (
        f"The container of pod {pod} used more memory than {of}. Raise spec.resources.limits.memory: the "
        "weights pass through it"
    )


def _again(view: View, job: str) -> str:
    """The line that lets a Job be tried again."""
    if not isinstance(view.observed, ObservedQuantization):
        return view.kubectl(f"delete job {job}")
    retry = view.observed.quantization.spec.retry + 1
    return view.kubectl(f'patch fp8q {view.resource.name} --type=merge -p \'{{"spec":{{"retry":{retry}}}}}\'')


def failed(view: View) -> Verdict | None:
    """The Job has failed for good: somebody must act, and then have it tried again."""
    job, tries = job_of(view), view.tries()
    # The exit code says so before the Job controller does. Where it has succeeded and there is nothing of it
    # yet, its report says nothing.
    ended = tries and (tries[-1].exit_code == EXIT_ACT or (job and job.succeeded))
    if job is None or not (job.failed or ended):
        return None
    fetches = names.is_prefetch(view.resource, job.name)
    unknown = Reason.PREFETCH_FAILED if fetches else Reason.CALIBRATION_FAILED
    reason, message = _last_try(view) or (unknown, job.failed)
    if job.failed.startswith(DEADLINE_EXCEEDED):
        reason, message = Reason.DEADLINE_EXCEEDED, job.failed
    words = f"{message.rstrip('.')}. Then let it be tried again: {_again(view, job.name)}"
    if isinstance(view.observed, ObservedQuantization) and reason in OF_THE_SPEC:
        words = f"{words}; or {anew(view.observed)}"
    return Verdict(False, reason, words, stalled=True)


def anew(observed: ObservedQuantization) -> str:
    """What to do about a spec that is to blame: it cannot change."""
    quantization = observed.quantization
    delete = names.kubectl(quantization.namespace, f"delete fp8q {quantization.name}")
    return f"where the spec is to blame, {delete}, and apply it corrected"


def refused(view: View) -> Verdict | None:
    """The API server refuses the Job's pod: a quota, an admission policy."""
    words = view.observed.events.get(view.job or "")
    if not words:
        return None
    return pods.refused(f"The pod of Job {view.job} is", words, view.kubectl(f"delete job {view.job}"))


def trying_again(view: View) -> Verdict | None:
    """A try has failed, and the Job controller makes another."""
    last, tries = _last_try(view), view.tries()
    if last is None or tries[-1].exit_code == 0 or view.first(lambda pod: pod.started_at):
        return None
    reason, message = last
    return Verdict(False, reason, f"{message.rstrip('.')}. It is tried again")


CHECKS: tuple[Check, ...] = (
    failed,
    refused,
    pods.cache_unbound,
    pods.image_pull_failed,
    pods.secret_not_found,
    pods.container_not_created,
    pods.mount_failed,
    pods.evicted,
)
LAST: tuple[Check, ...] = (pods.unschedulable, trying_again)
"""Asked after those that say more than that no node takes the pod."""


def trouble(view: View, own: Sequence[Check]) -> Verdict | None:
    """What keeps the Job from its end; `own` are checks that only one kind of resource has."""
    checks = (*CHECKS, *own, *LAST)
    return next((verdict for verdict in (check(view) for check in checks) if verdict is not None), None)
