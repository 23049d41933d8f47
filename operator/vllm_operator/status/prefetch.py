"""What is true of a server whose cache is being filled."""

from vllm_operator.api.observed import Target
from vllm_operator.api.reasons import Reason
from vllm_operator.desired import names
from vllm_operator.status import jobs, pods
from vllm_operator.status.conditions import Verdict
from vllm_operator.status.view import Check, View


def no_room_beside(view: View) -> Verdict | None:
    """The node on which the claim is held has no room for the Job's pod."""
    job, pod = jobs.job_of(view), view.first(lambda pod: pod.unschedulable)
    if job is None or not job.beside or pod is None:
        return None
    stop = view.kubectl(f"scale vllm/{view.server.name} --replicas=0")
    message = (
        f"{pods.sentence(pod.unschedulable)} The prefetch runs beside the pods that hold claim "
        f"{names.claim(view.server)}: free room on their node, or stop the server until the model is there: "
        f"{stop}"
    )
    return Verdict(False, Reason.UNSCHEDULABLE, message)


OWN: tuple[Check, ...] = (no_room_beside,)


def prefetching(view: View) -> Verdict:
    """The model is being downloaded: what is left to say when no check has answered."""
    claim, job = names.claim(view.server), view.job
    pod = view.first(lambda pod: pod.started_at)
    since = f" since {pod.started_at}" if pod else ""
    logs = view.kubectl(f"logs -f job/{job}")
    message = f"Job {job} downloads the model into claim {claim}{since}.{_far(view)} See {logs}"
    return Verdict(False, Reason.PREFETCHING, message)


def _far(view: View) -> str:
    progress = view.observed.progress
    if progress is None:
        return ""
    measure = f": {progress.done:,} of {progress.total:,} bytes" if progress.total else ""
    return f" Step {progress.phase}{measure}."


def judge(view: View) -> Verdict:
    """Why the cache is not filled yet."""
    return jobs.trouble(view, OWN) or prefetching(view)


def cached(view: View, readiness: Verdict) -> Verdict | None:
    """Whether the cache holds the model; None for a server that needs no prefetch."""
    assert isinstance(view.target, Target)  # noqa: S101 - a server's
    prefetch = view.target.prefetch
    # A server that an operator without prefetch has made goes on as it is.
    if prefetch is None or (prefetch.cached is None and view.target.record):
        return None
    if prefetch.cached is None:
        return Verdict(False, readiness.reason, readiness.message)
    message = f"Claim {names.claim(view.server)} holds commit {prefetch.cached.commit}"
    return Verdict(True, Reason.CACHED, message)
