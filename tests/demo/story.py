"""The story that the demo tells: apply, Ready, a mistake, another one, the mend, delete."""

import json
from collections.abc import Callable

from tests.demo.screen import DemoError, Screen
from tests.demo.states import States, state_of
from tests.harness.api import Api, ApiError, Object, condition
from tests.harness.manifests import is_bound, is_ready

NAMESPACE = "demo"
NAME = "chat"
SAMPLE = "manifests/samples/cpu.yaml"
WRONG = "--max-log-length=100"
RIGHT = "--max-log-len=100"
OWNED = "--port=9000"
CONDITIONS = '{range .status.conditions[*]}{.type}={.status} {.reason}{"\\n"}{end}'
MESSAGE = '{.status.conditions[?(@.type=="Ready")].message}'
CHILDREN = "deploy,svc,pvc,controllerrevisions"
LABEL = f"vllm-operator.dev/server={NAME}"


class Story:
    """Tells the story on one cluster, and checks each state in the API's objects."""

    def __init__(self, api: Api, screen: Screen, states: States):
        """Tell it with kubectl on the screen, and check it by the client and the watch."""
        self._api = api
        self._screen = screen
        self._states = states

    def tell(self) -> None:
        """Go through all parts; raise DemoError, AssertionError or ApiError where one does not hold."""
        self.apply()
        self.children()
        self.mistake()
        self.refused()
        self.mend()
        self.delete()

    def apply(self) -> None:
        """From apply to Ready."""
        self._screen.heading("A server on CPUs: apply is all there is")
        self._screen.run("apply", "-f", SAMPLE)
        # kubectl fits its columns to the first line: let that one have something to say.
        self._wait(lambda server: condition(server, "Ready"))
        self._screen.watch("get", "vllm", "-o", "wide", "--watch", until=lambda: self._wait(_ready))
        self._screen.run("wait", "--for=condition=Ready", f"vllm/{NAME}", "--timeout=60s")
        server = self._server()
        self._check(_ready(server), "Ready=True at the spec's own generation")
        path = self._states.reasons(server["metadata"]["generation"])
        loaded = "WarmingUp" in path and path.index("Serving") == len(path) - 1
        self._check(loaded, f"on the way: {' -> '.join(path)}")

    def children(self) -> None:
        """What the operator has made."""
        self._screen.heading("What it made")
        self._screen.run("get", CHILDREN, "-l", LABEL)
        uid = self._server()["metadata"]["uid"]
        for kind, name in (("Deployment", NAME), ("Service", NAME), ("ServiceAccount", f"{NAME}-vllm")):
            child = self._api.get(kind, NAMESPACE, name)
            self._check(child is not None and _owner(child) == uid, f"{kind} {name} is its own", quiet=True)
        claim = self._api.get("PersistentVolumeClaim", NAMESPACE, f"{NAME}-cache")
        self._check(claim is not None and is_bound(claim) and not _owner(claim), "the cache is retained")

    def mistake(self) -> None:
        """A flag that this version of vLLM does not know."""
        self._screen.heading("A mistake: a flag that vLLM does not know")
        before, pod = self._deployment(), self._pod()
        self._patch(WRONG)
        self._screen.run("wait", "--for=condition=Stalled", f"vllm/{NAME}", "--timeout=30s")
        self._show(CONDITIONS)
        self._show(MESSAGE)
        server = self._wait(lambda one: condition(one, "Stalled").get("reason") == "InvalidForEngine")
        self._check(state_of(server).current and not _ready(server), "Stalled: it waits for an edit")
        serves = condition(server, "Available").get("status") == "True" and is_ready(self._pod())
        same = self._deployment()["metadata"]["generation"] == before["metadata"]["generation"]
        self._check(
            serves and same and self._pod()["metadata"]["uid"] == pod["metadata"]["uid"],
            "the old revision serves on: same pod, Available=True",
        )

    def refused(self) -> None:
        """A flag that the operator sets itself: the API server says so at once."""
        self._screen.heading("Another one: a flag that the operator sets itself")
        before = self._server()
        self._patch(OWNED, fails=True)
        self._check(self._server()["spec"] == before["spec"], "refused by the API server, nothing stored")
        try:
            self._api.patch("VLLMServer", NAMESPACE, NAME, _arguments(OWNED))
        except ApiError as error:
            self._check(error.code == 422, "the answer is a 422", quiet=True)
        else:
            raise DemoError(f"{OWNED} was taken")

    def mend(self) -> None:
        """The flag as vLLM spells it: a new revision rolls out."""
        self._screen.heading("The mend: the flag as vLLM spells it")
        before = self._pod()
        self._patch(RIGHT)
        generation = self._server()["metadata"]["generation"]
        self._wait(lambda server: state_of(server).current)
        self._screen.run("wait", "--for=condition=Ready", f"vllm/{NAME}", "--timeout=60s")
        self._show(CONDITIONS)
        self._check(_ready(self._server()), "Ready=True again", quiet=True)
        pod = self._pod()
        runs = RIGHT in pod["spec"]["containers"][0]["args"] and is_ready(pod)
        self._check(
            runs and pod["metadata"]["uid"] != before["metadata"]["uid"],
            f"a new pod serves with {RIGHT}; on the way: {' -> '.join(self._states.reasons(generation))}",
        )
        early = [each for each in self._states.seen if each.generation == generation and each.ready == "True"]
        self._check(len(early) == 1 and early[0].current, "Ready was True once, at its end", quiet=True)

    def delete(self) -> None:
        """All goes but the cache."""
        self._screen.heading("Delete: all goes but the cache")
        self._screen.run("delete", "vllm", NAME)
        kinds = ("Deployment", "Service", "ServiceAccount", "ControllerRevision", "Pod")
        self._api.wait_for(lambda: not any(self._of(kind) for kind in kinds), 50, "the children go")
        self._screen.run("get", f"pods,{CHILDREN}", "-l", LABEL)
        claims = self._of("PersistentVolumeClaim")
        self._check(len(claims) == 1 and is_bound(claims[0]), "the claim with the weights is still there")

    def _check(self, holds: bool, what: str, *, quiet: bool = False) -> None:
        if not holds:
            raise DemoError(f"not so: {what}")
        if not quiet:
            self._screen.checked(what)

    def _patch(self, argument: str, *, fails: bool = False) -> None:
        words = json.dumps(_arguments(argument), separators=(",", ":"))
        self._screen.run("patch", "vllm", NAME, "--type=merge", "-p", words, fails=fails)

    def _show(self, path: str) -> None:
        self._screen.run("get", "vllm", NAME, "-o", f"jsonpath={path}")

    def _server(self) -> Object:
        return self._wait(bool)

    def _wait(self, holds: Callable[[Object], object]) -> Object:
        return self._api.wait_object("VLLMServer", NAMESPACE, NAME, holds)

    def _deployment(self) -> Object:
        return self._api.wait_object("Deployment", NAMESPACE, NAME)

    def _of(self, kind: str) -> list[Object]:
        return self._api.list(kind, NAMESPACE, labels=LABEL)

    def _pod(self) -> Object:
        pods = [pod for pod in self._of("Pod") if "deletionTimestamp" not in pod["metadata"]]
        self._check(len(pods) == 1, f"one pod: {[pod['metadata']['name'] for pod in pods]}", quiet=True)
        return pods[0]


def _arguments(argument: str) -> Object:
    return {"spec": {"extraArgs": [argument]}}


def _ready(server: Object) -> bool:
    return is_ready(server) and state_of(server).current


def _owner(child: Object) -> str:
    owners = child["metadata"].get("ownerReferences") or [{"uid": ""}]
    return str(owners[0]["uid"])
