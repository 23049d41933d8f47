"""What checks look at."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vllm_operator.api.kinds import Ours
from vllm_operator.api.observed import DeploymentFacts, Observed, Target
from vllm_operator.api.quantized import ObservedQuantization, QuantizationTarget
from vllm_operator.api.seen import JobFacts, PodFacts
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.desired import names
from vllm_operator.status.conditions import Verdict


@dataclass(frozen=True, slots=True)
class Hanging:
    """Something that is not as it should be for a time."""

    name: str
    uid: str
    since: str
    """Since when (RFC 3339)."""


@dataclass(frozen=True, slots=True)
class View:
    """What a check looks at."""

    observed: Observed | ObservedQuantization
    target: Target | QuantizationTarget
    now: str = ""
    """The time (RFC 3339); empty where it does not matter."""

    @property
    def resource(self) -> Ours:
        """The resource that is judged."""
        return self.observed.resource

    @property
    def server(self) -> VLLMServer:
        """The server that is judged, where it is one."""
        assert isinstance(self.observed, Observed)  # noqa: S101 - checks of servers ask for it
        return self.observed.server

    @property
    def deployment(self) -> DeploymentFacts | None:
        """Its Deployment."""
        return self.observed.deployment if isinstance(self.observed, Observed) else None

    def pods(self) -> list[PodFacts]:
        """The pods that are waited for and may still do what they are for, in a steady order."""
        ended = [*self.failed(), *self.tries()]
        return [pod for pod in self._staying() if pod not in ended]

    def ending(self) -> PodFacts | None:
        """A pod of the server that is about to go, and holds what it has until then."""
        return next((pod for pod in self.observed.pods if pod.deleting and not pod.job), None)

    def failed(self) -> list[PodFacts]:
        """Those of them that their node has ended or not taken; others take their places."""
        # A pod of a Job has failed, without a reason, when its container has.
        return [pod for pod in self._staying() if pod.failure and not (pod.job and pod.failure == "Failed")]

    def tries(self) -> list[PodFacts]:
        """The pods of the Job that have ended, the last one last."""
        ended = (pod for pod in self._staying() if pod.job and pod.exit_code is not None)
        return sorted(ended, key=lambda pod: pod.ended_at)

    @property
    def job(self) -> str | None:
        """Name of the Job that is waited for, before there are pods of the revision asked for."""
        return self.target.job

    def _staying(self) -> list[PodFacts]:
        pods = (pod for pod in self.observed.pods if not pod.deleting and self._is_awaited(pod))
        return sorted(pods, key=lambda pod: pod.name)

    def _is_awaited(self, pod: PodFacts) -> bool:
        if not self.job:
            return pod.record == self.target.record
        job = self.observed.children.get(("Job", self.job))
        return job is not None and pod.job_uid == job.uid

    def hanging(self) -> Iterator[Hanging]:
        """Pods whose container is being made, and a Job that has no pod yet."""
        for pod in self.pods():
            if pod.creating_since:
                yield Hanging(pod.name, pod.uid, pod.creating_since)
        job = self.observed.children.get(("Job", self.job or ""))
        if isinstance(job, JobFacts) and not (job.failed or job.succeeded or self._staying()):
            yield Hanging(job.name, job.uid, job.created_at)

    def starting(self) -> PodFacts | None:
        """The first pod whose container runs and has not done yet what it was started for."""
        return self.first(lambda pod: pod.started_at and (pod.job or not pod.ready))

    def first(self, wanted: Callable[[PodFacts], object]) -> PodFacts | None:
        """The first pod of which something holds."""
        return next((pod for pod in self.pods() if wanted(pod)), None)

    def kubectl(self, words: str) -> str:
        """A kubectl line in the resource's namespace, in backquotes."""
        return names.kubectl(self.resource.namespace, words)

    def resume(self) -> str:
        """The line that ends a pause, in backquotes."""
        return self.kubectl(
            f'patch vllm {self.server.name} --type=merge -p \'{{"spec":{{"paused":false}}}}\''
        )


Check = Callable[[View], Verdict | None]
