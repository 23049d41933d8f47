"""The story that the demo tells. What takes its time goes on while the next part is told."""

from collections.abc import Callable

from tests.demo.answers import Answers
from tests.demo.cpu import OnCpus
from tests.demo.fp8 import Calibrated
from tests.demo.gaudi import Llama, NeuralChat
from tests.demo.screen import Screen
from tests.demo.states import States
from tests.harness.api import Api
from tests.microservice.standin import StandIn


class Story:
    """Tells of three servers, and of a quantization, on one cluster."""

    def __init__(
        self, api: Api, screen: Screen, states: States, write_log: Callable[..., None], standin: StandIn
    ):
        """Tell it with kubectl on the screen, and check it by the client and the watch.

        `write_log` is what containers say (see `ControlPlane.write_log`), `standin` what answers requests.
        """
        self._cpu = OnCpus(api, screen, states, "chat")
        self._answers = Answers(api, screen, states, "chat", standin)
        self._gaudi = NeuralChat(api, screen, states, "neural-chat")
        self._llama = Llama(api, screen, states, "llama-70b")
        self._fp8 = Calibrated(api, screen, states, "llama-70b")
        self._screen = screen
        self._write_log = write_log

    def tell(self) -> None:
        """Go through all parts; raise DemoError, AssertionError or ApiError where one does not hold."""
        self._gaudi.apply(self._write_log)
        self._cpu.apply()
        self._answers.verified()
        self._cpu.children()
        self._answers.microservice()
        self._answers.asked()
        self._gaudi.downloading(self._write_log)
        self._cpu.mistake()
        self._cpu.refused()
        self._cpu.mend()
        self._gaudi.warming(self._write_log)
        self._llama.gated()
        self._llama.without_cards()
        self._cpu.delete()
        self._gaudi.warmed()
        self._screen.heading("The card of the Gaudi server is given to the one that waits")
        self._gaudi.stop()
        self._llama.served()
        self._fp8.apply(self._write_log)
        self._fp8.followed(self._write_log)
        self._fp8.promoted()
        self._fp8.kept()
