"""The FP8 story: a model is calibrated on the only eight cards that there are, and then served in FP8."""

import json
from collections.abc import Callable

from tests.demo.gaudi import cards_of
from tests.demo.teller import MESSAGE, NAMESPACE, PATIENCE, Teller
from tests.harness.api import Object, condition

KIND = "FP8Quantization"
CONDITION = '{.status.conditions[?(@.type=="Quantized")].message}'


class Calibrated(Teller):
    """Tells of a server that serves in BF16 on all cards of the node, and of its quantization."""

    sample = "manifests/samples/fp8-llama-70b.yaml"
    quantization = "llama-70b-tp8"

    def apply(self, write_log: Callable[..., None]) -> None:
        """Both are applied together; the server gives its cards to the calibration."""
        self.screen.heading("FP8: calibrate, gate, roll. The node has eight cards, all of them the server's")
        write_log("calibration", "calibrate: measure 128/512 ETA 3")
        self.screen.run("apply", "-f", self.sample)
        self._end("prefetch", _staged)
        self._wait_quantization("Calibrating")
        self.api.wait_for(lambda: not self.pods(), PATIENCE, "no pod of the server is left")
        self.screen.run("get", "fp8q,jobs,vllm")
        self.show(CONDITION)
        reason = condition(self.server(), "Quantized").get("reason")
        self.check(reason == "Calibrating", "Quantized=False/Calibrating: no pod until the result is there")

    def followed(self, write_log: Callable[..., None]) -> None:
        """How far it is."""
        self.screen.heading("How far the calibration is (played fast)")
        words = "measure 128 of 512, 3 min left"
        self._wait(lambda obj: obj["status"].get("progress", {}).get("message") == words)
        self.screen.run("get", "fp8q", self.quantization)
        self.check(cards_of(self._running("calibration")) == 8, f"{words}, on eight cards")

    def promoted(self) -> None:
        """The result is there, and an ordinary rollout serves it."""
        self.screen.heading("The result is verified, and the server rolls out in FP8")
        self._end("calibration", _result)
        self._wait_quantization("Calibrated")
        self.screen.run("get", "fp8q", self.quantization, "-o", f"jsonpath={MESSAGE}")
        self.wait_ready()
        self.screen.run("get", "fp8q,vllm")
        server = self.server()
        environment = {each["name"]: each.get("value") for each in self.pod()["spec"]["containers"][0]["env"]}
        served = server["status"]["precision"] == "fp8" and environment["QUANT_CONFIG"]
        self.check(bool(served), f"FP8 on eight cards, with {environment['QUANT_CONFIG']}")

    def kept(self) -> None:
        """What serves goes on when its quantization is deleted."""
        self.screen.heading("Without its quantization the server goes on in FP8: its record holds the result")
        pod = self.pod()["metadata"]["uid"]
        self.screen.run("delete", "fp8q", self.quantization)
        self.wait(lambda obj: condition(obj, "Quantized").get("reason") == "QuantizationNotFound")
        self.show(CONDITION)
        same = self.pod()["metadata"]["uid"] == pod
        self.check(same and self.server()["status"]["precision"] == "fp8", "the same pod, in FP8")

    def _wait_quantization(self, reason: str) -> Object:
        return self._wait(lambda obj: condition(obj, "Ready").get("reason") == reason)

    def _wait(self, holds: Callable[[Object], object]) -> Object:
        return self.api.wait_object(KIND, NAMESPACE, self.quantization, holds, timeout=PATIENCE)

    def _running(self, component: str) -> list[Object]:
        labels = f"vllm-operator.dev/quantization={self.quantization},app.kubernetes.io/component={component}"
        return self.api.list("Pod", NAMESPACE, labels=labels, fields="status.phase=Running")

    def _end(self, component: str, report: Callable[[Object], Object]) -> None:
        """Play the program in a Job's pod: it has done its work."""

        def running() -> Object | None:
            return next(iter(self._running(component)), None)

        pod = self.api.wait_for(running, PATIENCE, f"the {component} runs")
        self.annotate(pod, {"test-end": "0", "test-message": json.dumps(report(pod))})


def _staged(_: Object) -> Object:
    dataset = {"path": "/data/datasets/a1.pkl", "sha256": "a1", "bytes": 1}
    counts = {"files": 37, "bytes": 141107412992, "downloaded": 0, "adopted": {"files": 0}}
    return {
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "cache": "/data/hub",
        "dataset": dataset,
    } | counts


def _result(pod: Object) -> Object:
    arguments = pod["spec"]["containers"][0]["args"]
    output = f"{arguments[arguments.index('--output') + 1]}/llama-3.1-70b-instruct"
    found = {"output": output, "quantConfig": f"{output}/maxabs_quant_g2.json", "generation": "g2"}
    return found | {
        "manifest": f"{output}/manifest.json",
        "worldSize": 8,
        "samples": 512,
        "files": 50,
        "bytes": 9000000,
        "sha256": "f00d",
        "reused": False,
    }
