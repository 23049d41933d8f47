"""What is true of a VLLMServer: a list of checks, asked in order; the first that answers decides."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from vllm_operator.api.observed import DeploymentFacts, Observed, PodFacts
from vllm_operator.api.reasons import Reason
from vllm_operator.api.status import VLLMServerStatus
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.desired import names
from vllm_operator.status.conditions import Transition, Verdict, conditions
from vllm_operator.status.lastwords import ELSEWHERE, gist

IMAGE_PULL_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError"}
)
"""Reasons for which the kubelet keeps a container waiting for its image (k8s.io/kubernetes v1.36.3,
pkg/kubelet/images/types.go)."""


@dataclass(frozen=True, slots=True)
class View:
    """What a check looks at."""

    observed: Observed
    record: str
    """Digest of the record asked for."""

    @property
    def server(self) -> VLLMServer:
        """The server that is judged."""
        return self.observed.server

    @property
    def deployment(self) -> DeploymentFacts | None:
        """Its Deployment."""
        return self.observed.deployment

    def pods(self) -> list[PodFacts]:
        """The pods of the revision asked for that are to stay, in a steady order."""
        pods = (pod for pod in self.observed.pods if pod.record == self.record and not pod.deleting)
        return sorted(pods, key=lambda pod: pod.name)

    def first(self, wanted: Callable[[PodFacts], object]) -> PodFacts | None:
        """The first pod of which something holds."""
        return next((pod for pod in self.pods() if wanted(pod)), None)

    def kubectl(self, words: str) -> str:
        """A kubectl line in the server's namespace, in backquotes."""
        return f"`kubectl -n {self.server.namespace} {words}`"


Check = Callable[[View], Verdict | None]


def held(view: View) -> str:
    """What to know where another manager has set the Deployment's replicas: spec.replicas has no effect."""
    deployment, wanted = view.deployment, view.server.spec.replicas
    if deployment is None or not deployment.replicas_manager or deployment.wanted_replicas == wanted:
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
    if deployment is None or not deployment.wanted_replicas or not deployment.rolled_out(view.record):
        return None
    message = f"Serves at {names.url(view.server)}/v1"
    return Verdict(True, Reason.SERVING, ". ".join(filter(None, [message, held(view)])))


def pods_refused(view: View) -> Verdict | None:
    """The API server refuses the pods: a quota, an admission policy, Pod Security."""
    if view.deployment is None or not view.deployment.failure:
        return None
    message = f"Pods are refused: {view.deployment.failure}. Lift the limit that it names, or change the spec"
    return Verdict(False, Reason.CHILD_REJECTED, message, stalled=True)


def cache_unbound(view: View) -> Verdict | None:
    """The pod waits for its claim, and the claim has no volume."""
    claim, name = view.observed.claim, names.claim(view.server)
    pod = view.first(lambda pod: "persistentvolume" in pod.unschedulable.lower().replace(" ", ""))
    if pod is None or (claim is not None and claim.phase == "Bound"):
        return None
    if claim is None:
        message = f"Claim {name} does not exist: create it, or name another in spec.cache.claimName"
    else:
        message = (
            f"Claim {name} has no volume ({claim.phase}): {pod.unschedulable} "
            f"See {view.kubectl(f'describe pvc {name}')}; spec.cache.storageClassName chooses another class"
        )
    return Verdict(False, Reason.CACHE_UNBOUND, message)


def image_pull_failed(view: View) -> Verdict | None:
    """The kubelet cannot get the image."""
    pod = view.first(lambda pod: pod.waiting in IMAGE_PULL_REASONS)
    if pod is None:
        return None
    message = f"{pod.waiting}: {pod.waiting_message}. Check spec.image and spec.imagePullSecrets"
    return Verdict(False, Reason.IMAGE_PULL_FAILED, message)


def crash_looping(view: View) -> Verdict | None:
    """A container has ended and is not ready again.

    It stays so while the container is started again, or the status would swing with every try.
    """
    pod = view.first(lambda pod: pod.exit_code is not None and not pod.ready)
    if pod is None:
        return None
    words = gist(pod.last_words)
    # The engine's own words stand above those of the front, and are more than the kubelet keeps.
    search = " | grep Error:" if ELSEWHERE in words else ""
    logs = view.kubectl(f"logs {pod.name} --previous{search}")
    message = f"Container ended with exit code {pod.exit_code}: {words or 'no last words'}. See {logs}"
    return Verdict(False, Reason.CRASH_LOOPING, message)


def unschedulable(view: View) -> Verdict | None:
    """No node takes a pod."""
    pod = view.first(lambda pod: pod.unschedulable)
    if pod is None:
        return None
    message = f"{pod.unschedulable} Free resources, add nodes, or ask for less in spec.resources"
    return Verdict(False, Reason.UNSCHEDULABLE, message)


def warming_up(view: View) -> Verdict | None:
    """A container runs and does not answer yet, or the Deployment has not counted it yet.

    The Deployment counts a pod some milliseconds after the pod says that it is ready; another reason in
    between would tell nobody anything.
    """
    answering = sum(pod.ready for pod in view.observed.pods)
    uncounted = view.deployment is None or view.deployment.ready_replicas < answering
    pod = view.first(lambda pod: pod.started_at and (uncounted or not pod.ready))
    if pod is None:
        return None
    until = _later(pod.started_at, view.server.spec.warmup.timeout_seconds)
    message = (
        f"Pod {pod.name} loads the model since {pod.started_at} and has until {until} "
        f"(spec.warmup.timeoutSeconds). See {view.kubectl(f'logs -f {pod.name}')}"
    )
    return Verdict(False, Reason.WARMING_UP, message)


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
    cache_unbound,
    image_pull_failed,
    crash_looping,
    unschedulable,
    warming_up,
)


def readiness(view: View) -> Verdict:
    """Whether a server is ready, and why."""
    for check in READINESS:
        verdict = check(view)
        if verdict is not None:
            return verdict
    return rolling_out(view)


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
    observed: Observed, *, record: str, image: str, previous: Mapping[str, Transition], now: str
) -> VLLMServerStatus:
    """The status of a server whose children could be made."""
    return _status(observed, readiness(View(observed, record)), image, previous, now)


def judge_blocked(
    observed: Observed, verdict: Verdict, *, previous: Mapping[str, Transition], now: str
) -> VLLMServerStatus:
    """The status of a server whose children could not all be made, for the reason in the verdict."""
    return _status(observed, verdict, None, previous, now)


def judge_invalid(
    generation: int, verdict: Verdict, *, previous: Mapping[str, Transition], now: str
) -> VLLMServerStatus:
    """The status of an object that cannot be read."""
    said = conditions(verdict, verdict, generation=generation, previous=previous, now=now)
    return VLLMServerStatus(observed_generation=generation, conditions=said)


def _status(
    observed: Observed, verdict: Verdict, image: str | None, previous: Mapping[str, Transition], now: str
) -> VLLMServerStatus:
    server, deployment = observed.server, observed.deployment
    available = availability(observed, verdict)
    return VLLMServerStatus(
        observed_generation=server.generation,
        conditions=conditions(verdict, available, generation=server.generation, previous=previous, now=now),
        replicas=deployment.replicas if deployment else 0,
        ready_replicas=deployment.ready_replicas if deployment else 0,
        selector=names.selector_text(server.name),
        url=names.url(server),
        precision="bf16" if server.spec.engine_args.dtype == "bfloat16" else None,
        image=image,
    )


def _later(start: str, seconds: int) -> str:
    return (datetime.fromisoformat(start) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
