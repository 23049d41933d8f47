"""The stage of the demo: a control plane, the operator, a namespace, and a kubectl that points there.

Nothing routes a Service there: the stand-in for vLLM is where the operator's questions to all servers lead.
"""

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.demo.screen import Screen
from tests.demo.states import States
from tests.demo.teller import NAMESPACE
from tests.harness.api import Api
from tests.harness.controlplane import ControlPlane
from tests.harness.crds import apply_crds
from tests.harness.equipment import NodeShape
from tests.harness.operator import OperatorProcess
from tests.harness.processes import free_ports
from tests.microservice.standin import StandIn

LOADING = Path(__file__).with_name("loading.yaml")
NODE = NodeShape(cpus=160, memory="1Ti")
"""One node with eight cards, as Gaudi servers have them."""
MODELS = ["Qwen/Qwen2.5-0.5B-Instruct", "Intel/neural-chat-7b-v3-3", "meta-llama/Llama-3.1-70B-Instruct"]
"""What the samples of the story serve."""
WORDS = ["I", " am", " a", " stand-in", " for", " vLLM", ":", " no", " model", " runs", "."]
DELAY = 0.05
"""Seconds that the stand-in takes for a token."""
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


class Stage:
    """Everything that the story needs; a context manager that ends all that it started."""

    def __init__(self) -> None:
        """Plan it; nothing runs yet."""
        self._plane = ControlPlane(nodes=1, shape=NODE)
        self.standin = StandIn(port=free_ports(1)[0], models=MODELS, text=WORDS, delay=DELAY)
        """What answers in the place of every server."""
        settings = {"VLLM_OPERATOR_VERIFY": "true", "VLLM_OPERATOR_VERIFY_PROXY": self.standin.url}
        self._operator = OperatorProcess(self._plane, [NAMESPACE], settings)
        self._opened = ExitStack()
        self.log = ""
        """The end of the operator's log, once the stage has ended."""

    def __enter__(self) -> "Stage":
        """Start it, and say what was started."""
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        """End it."""
        self._end()

    @property
    def api(self) -> Api:
        """The administrator's client."""
        return self._plane.api

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig whose context is the demo's namespace."""
        return self._plane.folder / "demo.kubeconfig"

    def write_log(self, container: str, *lines: str) -> None:
        """Let containers of a name have said these lines."""
        self._plane.write_log(container, *lines)

    def _start(self) -> None:
        self._opened.enter_context(self._plane)
        apply_crds(self.api)
        self._restart_collector()
        metadata = {"name": NAMESPACE, "labels": RESTRICTED}
        self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        shutil.copy(self._plane.kubeconfig, self.kubeconfig)
        self.screen = Screen(self.kubeconfig)
        self.screen.silently("config", "set-context", "--current", f"--namespace={NAMESPACE}")
        self.screen.silently("apply", "-f", str(LOADING))
        self._opened.enter_context(self.standin)
        self._opened.enter_context(self._operator)
        self.states = self._opened.enter_context(States(self.api, NAMESPACE))
        seconds = self._plane.seconds_to_ready
        self.screen.say(f"Cluster ready after {seconds:.1f} s, CRDs installed, operator running.")

    def _end(self) -> None:
        self.log = self._operator.tail(15)
        self._opened.close()

    def _restart_collector(self) -> None:
        """Let the garbage collector know our kinds from its start: it looks for new ones every 30 s only."""
        for process in self._plane.processes:
            if process.name == "kube-controller-manager":
                process.stop()
                process.start()
