"""What is true of a server whose cache is being filled."""

from vllm_operator.api.observed import JobFacts
from vllm_operator.api.prefetch import EXIT_ACT, PrefetchFailure, read_report
from vllm_operator.api.reasons import Reason
from vllm_operator.desired import names
from vllm_operator.status import pods
from vllm_operator.status.conditions import Verdict
from vllm_operator.status.view import Check, View


def _job(view: View) -> JobFacts | None:
    child = view.observed.children.get(("Job", view.job or ""))
    return child if isinstance(child, JobFacts) else None


def _last_try(view: View) -> tuple[Reason, str] | None:
    """Why the last try has ended, in the program's words or the container's."""
    tries = view.tries()
    if not tries:
        return None
    last = tries[-1]
    if last.exit_code == 0:
        words = last.last_words.strip() or "nothing"
        return Reason.PREFETCH_FAILED, f"The prefetch has ended, and what it reports cannot be read: {words}"
    said = read_report(last.last_words)
    if isinstance(said, PrefetchFailure):
        return said.reason, said.message
    if last.end_reason == pods.OOM_KILLED:
        return Reason.OUT_OF_MEMORY, f"The container of pod {last.name} used more memory than its node has"
    words = last.last_words.strip() or "no last words"
    return Reason.PREFETCH_FAILED, f"The prefetch ended with exit code {last.exit_code}: {words}"


def failed(view: View) -> Verdict | None:
    """The Job has failed for good: somebody must act, and then delete it."""
    job, tries = _job(view), view.tries()
    # The exit code says so before the Job controller does. Where it has succeeded and there is no commit yet,
    # its report says nothing.
    ended = tries and (tries[-1].exit_code == EXIT_ACT or (job and job.succeeded))
    if job is None or not (job.failed or ended):
        return None
    reason, message = _last_try(view) or (Reason.PREFETCH_FAILED, job.failed)
    again = view.kubectl(f"delete job {job.name}")
    return Verdict(False, reason, f"{message.rstrip('.')}. Then let it be tried again: {again}", stalled=True)


def refused(view: View) -> Verdict | None:
    """The API server refuses the Job's pod: a quota, an admission policy."""
    words = view.observed.events.get(view.job or "")
    if not words:
        return None
    again = view.kubectl(f"delete job {view.job}")
    message = (
        f"The pod of Job {view.job} is refused: {words.rstrip('.')}. Mend what it names, or change the spec. "
        f"It is tried again ever more seldom; at once: {again}"
    )
    return Verdict(False, Reason.CHILD_REJECTED, message, stalled=True)


def no_room_beside(view: View) -> Verdict | None:
    """The node on which the claim is held has no room for the Job's pod."""
    job, pod = _job(view), view.first(lambda pod: pod.unschedulable)
    if job is None or not job.beside or pod is None:
        return None
    stop = view.kubectl(f"scale vllm/{view.server.name} --replicas=0")
    message = (
        f"{pods.sentence(pod.unschedulable)} The prefetch runs beside the pods that hold claim "
        f"{names.claim(view.server)}: free room on their node, or stop the server until the model is there: "
        f"{stop}"
    )
    return Verdict(False, Reason.UNSCHEDULABLE, message)


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
    no_room_beside,
    pods.unschedulable,
    trying_again,
)


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
    found = (check(view) for check in CHECKS)
    return next((verdict for verdict in found if verdict is not None), None) or prefetching(view)


def cached(view: View, readiness: Verdict) -> Verdict | None:
    """Whether the cache holds the model; None for a server that needs no prefetch."""
    prefetch = view.target.prefetch
    # A server that an operator without prefetch has made goes on as it is.
    if prefetch is None or (prefetch.cached is None and view.target.record):
        return None
    if prefetch.cached is None:
        return Verdict(False, readiness.reason, readiness.message)
    message = f"Claim {names.claim(view.server)} holds commit {prefetch.cached.commit}"
    return Verdict(True, Reason.CACHED, message)
