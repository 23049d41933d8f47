"""What every part of the story does: show, wait, check, and play the model hub and the containers."""

import json
import re
import shlex
from collections.abc import Callable

from tests.demo.screen import DemoError, Screen
from tests.demo.states import States, state_of
from tests.harness.api import Api, Object, condition
from tests.harness.manifests import is_ready

NAMESPACE = "demo"
CONDITIONS = '{range .status.conditions[*]}{.type}={.status} {.reason}{"\\n"}{end}'
MESSAGE = '{.status.conditions[?(@.type=="Ready")].message}'
PATIENCE = 60.0


class Teller:
    """Tells of one server with kubectl on the screen, and checks each state in the API's objects."""

    def __init__(self, api: Api, screen: Screen, states: States, name: str):
        """Tell of the server of a name."""
        self.name = name
        self.api = api
        self.screen = screen
        self.states = states

    def check(self, holds: bool, what: str, *, quiet: bool = False) -> None:
        """Print what was seen to be true, or raise DemoError."""
        if not holds:
            raise DemoError(f"not so: {what}")
        if not quiet:
            self.screen.checked(what)

    def show(self, path: str) -> None:
        """Show a part of the server."""
        self.screen.run("get", "vllm", self.name, "-o", f"jsonpath={path}")

    def wait_ready(self) -> Object:
        """Show `kubectl wait` until the server is ready, and return it."""
        self.screen.run("wait", "--for=condition=Ready", f"vllm/{self.name}", "--timeout=60s")
        server = self.server()
        self.check(ready(server), "Ready=True at the spec's own generation", quiet=True)
        return server

    def server(self) -> Object:
        """Return the server."""
        return self.wait(bool)

    def wait(self, holds: Callable[[Object], object]) -> Object:
        """Wait until something holds for the server, and return it."""
        return self.api.wait_object("VLLMServer", NAMESPACE, self.name, holds, timeout=PATIENCE)

    def wait_told(self, reason: str, words: str = "") -> str:
        """Wait until the present spec is not ready for a reason, and return the message."""

        def told(server: Object) -> bool:
            found = condition(server, "Ready")
            return state_of(server).current and found.get("reason") == reason and words in found["message"]

        return str(condition(self.wait(told), "Ready")["message"])

    def path(self) -> str:
        """Return the reasons that were given for the present spec, in their order."""
        generation = self.server()["metadata"]["generation"]
        return " -> ".join(self.states.reasons(self.name, generation))

    @property
    def label(self) -> str:
        """The label of the server's children."""
        return f"vllm-operator.dev/server={self.name}"

    def of(self, kind: str, more: str = "") -> list[Object]:
        """Return the server's children of a kind."""
        return self.api.list(kind, NAMESPACE, labels=self.label + more)

    def pods(self) -> list[Object]:
        """Return the server's own pods, but for those that end."""
        found = self.of("Pod", ",app.kubernetes.io/component=server")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def microservice_pods(self) -> list[Object]:
        """Return the pods of the server's microservice."""
        return self.api.list("Pod", NAMESPACE, labels=f"vllm-operator.dev/microservice={self.name}")

    def pod(self) -> Object:
        """Return the one pod that serves, or is about to."""
        pods = self.pods()
        self.check(len(pods) == 1, f"one pod: {[pod['metadata']['name'] for pod in pods]}", quiet=True)
        return pods[0]

    def follow(self, message: str) -> None:
        """Run the line that a message names."""
        (line,) = re.findall(r"`kubectl ([^`]+)`", message)
        self.screen.run(*shlex.split(line))

    def end_prefetch(self, reason: str = "", message: str = "") -> None:
        """Play the program in the Job's pod: it has the model, or it fails for a reason."""
        pod = self.api.wait_for(self._prefetch_pod, PATIENCE, f"the prefetch of {self.name} runs")
        annotations = {"test-end": "78" if reason else "0"}
        if reason:
            annotations["test-message"] = json.dumps({"reason": reason, "message": message})
        self.annotate(pod, annotations)

    def annotate(self, pod: Object, annotations: dict[str, str]) -> None:
        """Tell the played kubelet of something: see `tests/harness/stages`."""
        body = {"metadata": {"annotations": annotations}}
        self.api.patch("Pod", NAMESPACE, pod["metadata"]["name"], body)

    def _prefetch_pod(self) -> Object | None:
        jobs = {job["metadata"]["uid"] for job in self.of("Job")}
        for pod in self.of("Pod", ",app.kubernetes.io/component=prefetch"):
            running = pod.get("status", {}).get("phase") == "Running"
            if running and pod["metadata"]["labels"]["batch.kubernetes.io/controller-uid"] in jobs:
                return pod
        return None


def ready(server: Object) -> bool:
    """Say whether a server claims to serve the spec that is stored."""
    return is_ready(server) and state_of(server).current


def verified(server: Object) -> bool:
    """Say whether the revision that serves has answered when it was asked."""
    return ready(server) and bool(condition(server, "Verified").get("status") == "True")
