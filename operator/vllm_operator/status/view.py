"""What the checks of a VLLMServer look at."""

from collections.abc import Callable
from dataclasses import dataclass

from vllm_operator.api.observed import DeploymentFacts, Observed, PodFacts, Target
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.status.conditions import Verdict


@dataclass(frozen=True, slots=True)
class View:
    """What a check looks at."""

    observed: Observed
    target: Target

    @property
    def server(self) -> VLLMServer:
        """The server that is judged."""
        return self.observed.server

    @property
    def deployment(self) -> DeploymentFacts | None:
        """Its Deployment."""
        return self.observed.deployment

    def pods(self) -> list[PodFacts]:
        """The pods that are waited for and may still serve, or fill the cache, in a steady order."""
        ended = [*self.failed(), *self.tries()]
        return [pod for pod in self._staying() if pod not in ended]

    def failed(self) -> list[PodFacts]:
        """Those of them that have failed as a whole; others have taken their places."""
        return [pod for pod in self._staying() if pod.failure]

    def tries(self) -> list[PodFacts]:
        """The pods of the prefetch that have ended, the last one last."""
        ended = (pod for pod in self._staying() if pod.job and pod.exit_code is not None)
        return sorted(ended, key=lambda pod: pod.ended_at)

    @property
    def job(self) -> str | None:
        """Name of the Job that is waited for before there are pods of the revision asked for."""
        prefetch = self.target.prefetch
        return prefetch.job if prefetch and not self.target.record else None

    def _staying(self) -> list[PodFacts]:
        pods = (pod for pod in self.observed.pods if not pod.deleting and self._is_awaited(pod))
        return sorted(pods, key=lambda pod: pod.name)

    def _is_awaited(self, pod: PodFacts) -> bool:
        return pod.job == self.job if self.job else pod.record == self.target.record

    def first(self, wanted: Callable[[PodFacts], object]) -> PodFacts | None:
        """The first pod of which something holds."""
        return next((pod for pod in self.pods() if wanted(pod)), None)

    def kubectl(self, words: str) -> str:
        """A kubectl line in the server's namespace, in backquotes."""
        return f"`kubectl -n {self.server.namespace} {words}`"


Check = Callable[[View], Verdict | None]
