"""The state of an import: what there is, and what has come of it so far."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vllm_operator.api.fp8quantization import FP8Quantization
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.importenv.draft import Draft
from vllm_operator.importenv.settings import NotImportedError, Secrets, Setting
from vllm_operator.importenv.table import TABLE, Row

Device = Literal["cpu", "gaudi"]


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says, and no variable does."""

    name: str | None = None
    namespace: str | None = None
    device: Device | None = None
    cache_size: str | None = None
    cache_claim: str | None = None
    dataset_claim: str | None = None
    microservice: bool = False


class Conversion:
    """Drafts of the resources, and what else has come of the settings.

    `quantization` is empty unless there is to be one. `keys` holds, by the name of a Secret, the settings
    whose values it has to hold. `unused` are settings that have no effect, each with the reason.
    """

    def __init__(self, settings: Mapping[str, Setting], options: Options) -> None:
        self.settings = settings
        self.options = options
        self.server = Draft(VLLMServer.kind)
        self.quantization = Draft(FP8Quantization.kind)
        self.keys: dict[str, list[Setting]] = {}
        self.unused: list[tuple[Setting, str]] = []
        self.problems: list[str] = []
        self._secrets = Secrets(settings.values())

    @property
    def drafts(self) -> list[Draft]:
        """The resources that there are to be, a quantization before the server that names it."""
        return [draft for draft in (self.quantization, self.server) if draft.body["spec"]]

    @property
    def name(self) -> str:
        """Name of the server."""
        return str(self.server.body["metadata"]["name"])

    def shown(self, setting: Setting) -> Any:
        """A value as it may be printed: the one way from a setting into a resource.

        Raises ValueError, whose message does not hold the value, where it may not be.
        """
        if setting.expands:
            raise ValueError("names another variable by $, in whose place its value has to stand")
        if self._secrets.hold(setting):
            raise ValueError("holds a password or a token, or what another variable calls one")
        return TABLE.get(setting.name, Row()).convert(setting.value)

    def hides(self, setting: Setting) -> bool:
        """Whether a value may not be printed."""
        try:
            self.shown(setting)
        except ValueError:
            return True
        return False

    def value(self, setting: Setting) -> Any:
        """The value for a field, or None where there is a problem with it."""
        try:
            return self.shown(setting)
        except ValueError as error:
            self.problem(setting, f"{error}: correct it, or take it out")
        return None

    def problem(self, setting: Setting, text: str) -> None:
        """Note that a setting cannot be imported."""
        self.problems.append(f"{setting}: {text}")

    def raise_problems(self) -> None:
        """Raise NotImportedError if there are any."""
        if self.problems:
            raise NotImportedError(self.problems)

    def put(self, setting: Setting) -> None:
        """Set the fields that the table names for a setting, in the resources that there are to be."""
        row = TABLE[setting.name]
        value = self.value(setting)
        for draft, field in ((self.server, row.server), (self.quantization, row.quantization)):
            if field and value is not None and draft.body["metadata"]:
                draft.put(field, value, str(setting), row.note)
