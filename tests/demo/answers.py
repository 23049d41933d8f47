"""Answers: the operator asks the server for a token, and the guide's clients ask the LLM microservice."""

import ast
import json
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.demo.screen import Screen
from tests.demo.states import States
from tests.demo.teller import NAMESPACE, Teller, verified
from tests.harness.api import Api, condition
from tests.harness.manifests import is_ready
from tests.harness.operator import SOURCE
from tests.harness.processes import Process, free_ports, wait_until
from tests.microservice.guide import command
from tests.microservice.program import Microservice, events
from tests.microservice.standin import StandIn

VERIFIED = (
    '{range .status.conditions[?(@.type=="Verified")]}{.type}={.status} {.reason}{"\\n"}{.message}{end}'
)
PROGRAM = "{.spec.template.spec.containers[0].command}"
VARIABLES = '{range .spec.template.spec.containers[0].env[*]}{.name}={.value}{"\\n"}{end}'
PLAYED = """(The pod is only played, so its program is started here: by the pod's command, in the pod's
environment as the API server holds it, but for three variables. With them it listens on loopback,
and has the stand-in for vLLM behind it: what answers is no model.)"""


class Answers(Teller):
    """Tells of what a server that serves answers, and of its microservice."""

    def __init__(self, api: Api, screen: Screen, states: States, name: str, standin: StandIn):
        """Tell of the server of a name, in whose place a stand-in answers."""
        super().__init__(api, screen, states, name)
        self._standin = standin
        self._deployment = f"{name}-llm"

    def verified(self) -> None:
        """The operator asks the revision that serves, as a client would."""
        self.screen.heading("Does it answer? The operator asks, as a client would (here the stand-in)")
        self.screen.run("wait", "--for=condition=Verified", f"vllm/{self.name}", "--timeout=60s")
        self.show(VERIFIED)
        server = self.wait(verified)
        told = condition(server, "Verified")
        answers = told["reason"] == "Answers" and "first token after" in told["message"]
        asked = {(each["model"], each["max_tokens"]) for each in self._standin.seen}
        one = asked == {(server["spec"]["model"]["name"], 1)}
        self.check(answers and one, "Verified=True: the stand-in was asked for one token")

    def microservice(self) -> None:
        """It is switched on, and no pod of the server notices."""
        self.screen.heading("The guide's LLM microservice is one field")
        before = self.pod()["metadata"]["uid"]
        words = json.dumps({"spec": {"microservice": {"enabled": True}}}, separators=(",", ":"))
        self.screen.run("patch", "vllm", self.name, "--type=merge", "-p", words)
        self.screen.run("wait", "--for=condition=MicroserviceReady", f"vllm/{self.name}", "--timeout=60s")
        head, row = self.screen.run("get", "vllm", self.name, "-o", "wide").splitlines()
        column = row[head.index("MICROSERVICE") :].split()
        self.check(column[:1] == ["True"], "the column says so", quiet=True)
        self.screen.run("get", f"deploy/{self._deployment}", f"svc/{self._deployment}")
        runs = [is_ready(pod) for pod in self.microservice_pods()] == [True]
        same = self.pod()["metadata"]["uid"] == before and verified(self.server())
        self.check(runs and same, "its pod is ready; the server's is the same as before")

    def asked(self) -> None:
        """Its program answers the guide's own requests."""
        self.screen.heading("What it answers: the guide's own requests, word for word but for the address")
        with self._running() as service:
            self.screen.shell(command("2.3 health", "", service.url))
            self.check(service.health().status_code == 200, "with 200: what is behind it can answer")
            document = json.loads(self.screen.shell(command("2.3 non-streaming", "", service.url)))
            whole = document["text"] == "".join(self._standin.text) and document["streaming"] is False
            self.check(whole, "the answer as one document")
            *tokens, last = events(self.screen.shell(command("2.3 streaming", "", service.url)))
            same = [ast.literal_eval(token) for token in tokens] == self._standin.text
            self.check(same and last == "[DONE]", "the answer token by token, to its end")
        asked = self._standin.seen[-1]
        roles = [each["role"] for each in asked["messages"]]
        words = (asked["model"], roles, asked["max_tokens"])
        self.check(
            words == (self.server()["spec"]["model"]["name"], ["system", "user"], 32),
            f"the stand-in was asked in vLLM's words: messages of {' and '.join(roles)}, "
            f"model {asked['model']}, max_tokens {asked['max_tokens']}",
        )
        self.check(service.process.returncode == 0, "SIGTERM ended it with 0", quiet=True)

    @contextmanager
    def _running(self) -> Iterator[Microservice]:
        """The pod's program, while it lasts."""
        self.screen.run("get", "deploy", self._deployment, "-o", f"jsonpath={PROGRAM}")
        self.screen.run("get", "deploy", self._deployment, "-o", f"jsonpath={VARIABLES}")
        self.screen.say(PLAYED)
        deployment = self.api.wait_object("Deployment", NAMESPACE, self._deployment)
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        given = {each["name"]: each["value"] for each in container["env"]}
        (port,) = free_ports(1)
        here = {
            "LLM_MODEL_SERVER_ENDPOINT": self._standin.url,
            "LLM_MICROSERVICE_ADDRESS": "127.0.0.1",
            "LLM_USVC_PORT": str(port),
        }
        program = container["command"]
        self.screen.background(shlex.join([*(f"{name}={value}" for name, value in here.items()), *program]))
        environment = {**given, **here, "PYTHONPATH": str(SOURCE)}
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log"
            process = Process("microservice", [sys.executable, *program[1:]], log, environment)
            service = Microservice(process, f"http://127.0.0.1:{port}")
            try:
                process.start()
                wait_until(service.up, [process], 60, "it listens")
                yield service
            finally:
                process.stop()
