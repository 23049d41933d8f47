"""A server on CPUs: apply, Ready, a mistake, another one, the mend, delete."""

import json

from tests.demo.screen import DemoError
from tests.demo.states import state_of
from tests.demo.teller import CONDITIONS, MESSAGE, NAMESPACE, Teller, ready, verified
from tests.harness.api import ApiError, Object, condition
from tests.harness.manifests import is_bound, is_ready

SAMPLE = "manifests/samples/cpu.yaml"
WRONG = "--max-log-length=100"
RIGHT = "--max-log-len=100"
OWNED = "--port=9000"
CHILDREN = "deploy,svc,pvc,controllerrevisions"


class OnCpus(Teller):
    """Tells of the server of the first sample."""

    def apply(self) -> None:
        """From apply to Ready."""
        self.screen.heading("A server on CPUs: apply is all there is")
        self.screen.run("apply", "-f", SAMPLE)
        # kubectl fits its columns to the first line: let that one have something to say.
        self.wait(lambda server: condition(server, "Ready"))
        words = ("get", "vllm", self.name, "-o", "wide", "--watch")
        self.screen.watch(*words, until=self._load)
        self.wait_ready()
        path = self.path()
        loaded = path.startswith("Prefetching") and path.endswith("WarmingUp -> Serving")
        self.check(loaded, f"Ready=True, on the way: {path}")

    def _load(self) -> None:
        self.end_prefetch()
        self.wait(ready)

    def children(self) -> None:
        """What the operator has made."""
        self.screen.heading("What it made")
        self.screen.run("get", CHILDREN, "-l", self.label)
        uid = self.server()["metadata"]["uid"]
        for kind, name in (
            ("Deployment", self.name),
            ("Service", self.name),
            ("ServiceAccount", f"{self.name}-vllm"),
        ):
            child = self.api.get(kind, NAMESPACE, name)
            self.check(child is not None and _owner(child) == uid, f"{kind} {name} is its own", quiet=True)
        claim = self.api.get("PersistentVolumeClaim", NAMESPACE, f"{self.name}-cache")
        self.check(claim is not None and is_bound(claim) and not _owner(claim), "the cache is retained")

    def mistake(self) -> None:
        """A flag that this version of vLLM does not know."""
        self.screen.heading("A mistake: a flag that vLLM does not know")
        before, pod = self._deployment(), self.pod()
        self._patch(WRONG)
        self.screen.run("wait", "--for=condition=Stalled", f"vllm/{self.name}", "--timeout=30s")
        self.show(CONDITIONS)
        self.show(MESSAGE)
        server = self.wait(lambda one: condition(one, "Stalled").get("reason") == "InvalidForEngine")
        self.check(state_of(server).current and not ready(server), "Stalled: it waits for an edit")
        serves = condition(server, "Available").get("status") == "True" and is_ready(self.pod())
        same = self._deployment()["metadata"]["generation"] == before["metadata"]["generation"]
        self.check(
            serves and same and self.pod()["metadata"]["uid"] == pod["metadata"]["uid"],
            "the old revision serves on: same pod, Available=True",
        )

    def refused(self) -> None:
        """A flag that the operator sets itself: the API server says so at once."""
        self.screen.heading("Another one: a flag that the operator sets itself")
        before = self.server()
        self._patch(OWNED, fails=True)
        self.check(self.server()["spec"] == before["spec"], "refused by the API server, nothing stored")
        try:
            self.api.patch("VLLMServer", NAMESPACE, self.name, _arguments(OWNED))
        except ApiError as error:
            self.check(error.code == 422, "the answer is a 422", quiet=True)
        else:
            raise DemoError(f"{OWNED} was taken")

    def mend(self) -> None:
        """The flag as vLLM spells it: a new revision rolls out, and nothing is fetched again."""
        self.screen.heading("The mend: the flag as vLLM spells it")
        before = self.pod()
        self._patch(RIGHT)
        generation = self.server()["metadata"]["generation"]
        self.wait(lambda server: state_of(server).current)
        self.wait_ready()
        self.wait(verified)
        self.show(CONDITIONS)
        pod = self.pod()
        runs = RIGHT in pod["spec"]["containers"][0]["args"] and is_ready(pod)
        self.check(
            runs and pod["metadata"]["uid"] != before["metadata"]["uid"],
            f"a new pod serves with {RIGHT}; on the way: {self.path()}",
        )
        states = self.states.at(self.name, generation)
        early = [each for each in states if each.ready == "True"]
        self.check(len(early) == 1 and early[0].current, "Ready was True once, at its end", quiet=True)
        again = "Prefetching" in {each.reason for each in states if each.current}
        self.check(not again, "the cache was not filled again", quiet=True)

    def delete(self) -> None:
        """All goes but the cache."""
        self.screen.heading("Delete: all goes but the cache")
        self.screen.run("delete", "vllm", self.name)
        kinds = ("Deployment", "Service", "ServiceAccount", "ControllerRevision", "Pod")
        self.api.wait_for(lambda: not any(self.of(kind) for kind in kinds), 50, "the children go")
        self.api.wait_for(lambda: not self.microservice_pods(), 50, "the microservice goes")
        self.screen.run("get", f"pods,{CHILDREN}", "-l", self.label)
        claims = self.of("PersistentVolumeClaim")
        self.check(len(claims) == 1 and is_bound(claims[0]), "the claim with the weights is still there")

    def _patch(self, argument: str, *, fails: bool = False) -> None:
        words = json.dumps(_arguments(argument), separators=(",", ":"))
        self.screen.run("patch", "vllm", self.name, "--type=merge", "-p", words, fails=fails)

    def _deployment(self) -> Object:
        return self.api.wait_object("Deployment", NAMESPACE, self.name)


def _arguments(argument: str) -> Object:
    return {"spec": {"extraArgs": [argument]}}


def _owner(child: Object) -> str:
    owners = child["metadata"].get("ownerReferences") or [{"uid": ""}]
    return str(owners[0]["uid"])
