"""What is true of a server that loads its model."""

from datetime import datetime, timedelta

from vllm_operator.api.reasons import Reason
from vllm_operator.desired import names
from vllm_operator.status.conditions import Verdict
from vllm_operator.status.view import View


def warming_up(view: View) -> Verdict | None:
    """A container runs and does not answer yet, or the Deployment has not counted it yet.

    The Deployment counts a pod some milliseconds after the pod says that it is ready; another reason in
    between would tell nobody anything.
    """
    answering = sum(pod.ready and not (pod.job or pod.deleting) for pod in view.observed.pods)
    uncounted = view.deployment is None or view.deployment.ready_replicas < answering
    pod = view.first(lambda pod: pod.started_at and (uncounted or not pod.ready))
    if pod is None:
        return None
    if pod.container == names.VERIFY:
        message = (
            f"Pod {pod.name} looks whether the files of the calibration are as they were, then starts vLLM"
        )
        return Verdict(False, Reason.WARMING_UP, message)
    until = _later(pod.started_at, view.server.spec.warmup.timeout_seconds)
    logs = view.kubectl(f"logs -f {pod.name}")
    message = (
        f"Pod {pod.name} loads the model since {pod.started_at} and has until {until} "
        f"(spec.warmup.timeoutSeconds).{_done(view)}{_late(view)} See {logs}"
    )
    return Verdict(False, Reason.WARMING_UP, message)


def _done(view: View) -> str:
    done = view.observed.progress
    return f" {done.phase}: {done.done:,} of {done.total:,}." if done else ""


def half_time(view: View) -> str | None:
    """When half of the time of a start has passed (RFC 3339), or None if nothing starts."""
    pod = view.starting()
    if pod is None or view.job or pod.container == names.VERIFY:
        return None
    return _later(pod.started_at, view.server.spec.warmup.timeout_seconds // 2)


def _late(view: View) -> str:
    """What to do about a start that takes long, once half of its time has passed."""
    half = half_time(view)
    if half is None or view.now < half:
        return ""
    knobs = view.server.spec.engine_args
    given = [
        f"spec.engineArgs.{name} ({'unset: as much as the model allows' if value is None else value})"
        for name, value in (("maxModelLen", knobs.max_model_len), ("maxNumSeqs", knobs.max_num_seqs))
    ]
    return (
        f" Half of that time has passed: lower {' and '.join(given)}, which decide how much is compiled, "
        "or give it more time."
    )


def _later(start: str, seconds: int) -> str:
    return (datetime.fromisoformat(start) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
