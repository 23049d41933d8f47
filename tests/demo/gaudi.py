"""Servers on Gaudi cards: a download and a warm-up that are followed, a gated model, too few cards."""

from collections.abc import Callable

from tests.demo.teller import MESSAGE, Teller, ready
from tests.harness.api import Object, condition

CARD = "habana.ai/gaudi"
WARMUP = "[Warmup][{phase}][{done}/{total}] batch_size:1 query_len:128 num_blocks:0 free_mem:79.16 GiB"
GATED = (
    "The hub answered 403 (Access to model meta-llama/Llama-3.1-70B-Instruct is restricted). Ask for access "
    "on the model's page, and name a Secret with the token of an account that has it in "
    "model.tokenSecretRef."
)


def cards_of(pods: list[Object]) -> int:
    """Return how many cards pods have been given."""
    limits = [pod["spec"]["containers"][0]["resources"].get("limits", {}) for pod in pods]
    return sum(int(each.get(CARD, 0)) for each in limits)


class NeuralChat(Teller):
    """Tells of the guide's model, on one card."""

    sample = "manifests/samples/gaudi.yaml"

    def apply(self, write_log: Callable[..., None]) -> None:
        """Its model is fetched, and nothing else happens yet."""
        self.screen.heading("A server on Gaudi: first the model, so that no card waits for a download")
        write_log("prefetch", "prefetch: resolve", "prefetch: download 4831838208/14483464192")
        self.screen.run("apply", "-f", self.sample)
        self.wait_told("Prefetching")
        self.screen.run("get", "vllm,jobs")
        self.check(not self.pods() and not self.of("Deployment"), "no pod has a card yet")

    def downloading(self, write_log: Callable[..., None]) -> None:
        """How far the download is; then it ends, and the server starts on the commit that it found."""
        self.screen.heading("How far the download of the Gaudi server is")
        self.wait_told("Prefetching", words="4,831,838,208 of 14,483,464,192 bytes")
        self.show(MESSAGE)
        self.check(condition(self.server(), "ModelCached")["status"] == "False", "ModelCached=False")
        write_log("vllm", WARMUP.format(phase="Prompt", done=12, total=36))
        self.end_prefetch()
        self.wait_told("WarmingUp")
        commit = self.server()["status"]["modelRevision"]
        runs = commit in self.pod()["spec"]["containers"][0]["args"]
        self.check(runs and cards_of(self.pods()) == 1, f"downloaded: it starts on commit {commit[:12]}")

    def warming(self, write_log: Callable[..., None]) -> None:
        """Two looks at a warm-up that takes half an hour on real cards."""
        self.screen.heading(
            "A warm-up of half an hour (played fast): the status follows the server's own log"
        )
        self._far("Prompt: 12 of 36")
        write_log("vllm", WARMUP.format(phase="Decode", done=811, total=1024))

    def warmed(self) -> None:
        """The second look, and the end."""
        self.screen.heading("Twenty seconds later")
        self._far("Decode: 811 of 1,024")
        self.screen.run("get", "vllm", self.name, "-o", "wide")
        self.annotate(self.pod(), {"test-ready": "yes"})
        self.wait_ready()
        self.check("warmup" not in self.server()["status"], f"Ready=True, on the way: {self.path()}")

    def _far(self, words: str) -> None:
        self.wait_told("WarmingUp", words=words)
        self.show(MESSAGE)
        self.check(words in self.wait_told("WarmingUp"), words)

    def stop(self) -> None:
        """Scale it to nothing, which frees its card."""
        self.screen.run("scale", f"vllm/{self.name}", "--replicas=0")


class Llama(Teller):
    """Tells of a gated model that needs all eight cards of a node."""

    sample = "manifests/samples/gaudi-llama-70b.yaml"

    def gated(self) -> None:
        """The hub says no, and the message says what to do."""
        self.screen.heading("A gated model: the status says what to do, down to the line")
        secret = ("hugging-face", "--from-literal=HF_TOKEN=hf_...")
        self.screen.run("create", "secret", "generic", *secret)
        self.screen.run("apply", "-f", self.sample)
        self.end_prefetch("GatedModel", GATED)
        self.screen.run("wait", "--for=condition=Stalled", f"vllm/{self.name}", "--timeout=30s")
        message = self.wait_told("GatedModel")
        self.show(MESSAGE)
        stalled = condition(self.server(), "Stalled")
        self.check(stalled.get("reason") == "GatedModel", "Stalled: it waits for somebody to act")
        self.screen.say("(Access is asked for, and granted.)")
        self.follow(message)
        self.wait_told("Prefetching")
        self.end_prefetch()
        self.wait(lambda server: condition(server, "ModelCached").get("status") == "True")
        self.check(True, "ModelCached=True: the download went through")

    def without_cards(self) -> None:
        """Seven of eight cards are free."""
        self.screen.heading("No free cards: one of the node's eight is the other server's")
        self.wait_told("WaitingForAccelerators", words=f"Insufficient {CARD}")
        self.show(MESSAGE)
        waits = not self.pod()["spec"].get("nodeName")
        self.check(
            waits and condition(self.server(), "Reconciling")["status"] == "True", "it waits for cards"
        )

    def served(self) -> None:
        """Cards are free, and it takes them by itself."""
        self.wait_ready()
        server = self.server()
        taken = ready(server) and cards_of(self.pods()) == 8
        self.check(taken, f"Ready=True on eight cards, on the way: {self.path()}")
