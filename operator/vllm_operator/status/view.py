"""What the checks of a VLLMServer look at."""

from collections.abc import Callable
from dataclasses import dataclass

from vllm_operator.api.observed import DeploymentFacts, Observed, PodFacts
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.status.conditions import Verdict


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
        return [pod for pod in self._staying() if not pod.failure]

    def failed(self) -> list[PodFacts]:
        """The pods of the revision asked for that have failed as a whole; others have taken their places."""
        return [pod for pod in self._staying() if pod.failure]

    def _staying(self) -> list[PodFacts]:
        pods = (pod for pod in self.observed.pods if pod.record == self.record and not pod.deleting)
        return sorted(pods, key=lambda pod: pod.name)

    def first(self, wanted: Callable[[PodFacts], object]) -> PodFacts | None:
        """The first pod of which something holds."""
        return next((pod for pod in self.pods() if wanted(pod)), None)

    def kubectl(self, words: str) -> str:
        """A kubectl line in the server's namespace, in backquotes."""
        return f"`kubectl -n {self.server.namespace} {words}`"

    def resume(self) -> str:
        """The line that ends a pause, in backquotes."""
        return self.kubectl(
            f'patch vllm {self.server.name} --type=merge -p \'{{"spec":{{"paused":false}}}}\''
        )


Check = Callable[[View], Verdict | None]
