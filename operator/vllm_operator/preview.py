"""What `render` shows: children as they would be, with stand-ins for what only Jobs in a cluster find out."""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

from vllm_operator.api.fp8quantization import FP8Quantization, FP8QuantizationSpec
from vllm_operator.api.kinds import Ours
from vllm_operator.api.observed import Artifacts, Cached, Observed, QuantizationState, Quantizing
from vllm_operator.api.quantized import ObservedQuantization, Result, Staged
from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.api.seen import Manifest
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.desired import calibration, engine, jobs, names, recipe
from vllm_operator.desired.defaults import Defaults
from vllm_operator.desired.server import PREFETCH_KINDS, desired
from vllm_operator.status import quantization as status
from vllm_operator.status.view import View

NO_SHA256 = "0" * 64
NO_TIME = "1970-01-01T00:00:00Z"


class Preview:
    """Shows resources one by one. A quantization that is shown before a server is ready for it."""

    def __init__(self, defaults: Defaults, commit: str, broken: Iterable[tuple[str, str]] = ()) -> None:
        """`broken` holds namespace and name of quantizations that are there and cannot be read."""
        self._defaults = defaults
        self._commit = commit
        self._broken = set(broken)
        self._ready: dict[tuple[str, str], tuple[FP8Quantization, QuantizationState]] = {}

    def show(self, resource: Ours) -> tuple[list[Manifest], str]:
        """Children of a resource: what fills its cache first; and what to know of it.

        Raises StalledError, also for a server that a quantization shown before does not fit.
        """
        if isinstance(resource, VLLMServer):
            return self._server(resource)
        try:
            return self._quantization(resource), ""
        except StalledError:
            self._broken.add((resource.namespace, resource.name))
            raise

    def _server(self, server: VLLMServer) -> tuple[list[Manifest], str]:
        reference = server.spec.fp8.quantization_ref if server.spec.fp8 else None
        key = (server.namespace, reference.name if reference else "")
        quantization, state = self._ready.get(key, (None, None))
        observed = Observed(server=server, children={}, claim=None, pods=(), quantization=state)
        first = desired(observed, self._defaults)
        then = desired(observed, self._defaults, Cached(self._commit, names.HUB))
        found, note = then.target.quantizing, ""
        if found is not None and found.mismatch and not _guessed(found, server, quantization):
            raise StalledError(found.reason, f"{server.name}: {found.message}")
        # What is wrong with one that is there is told of it, and that is all there is to tell.
        if found is not None and found.reason != Reason.QUANTIZED and key not in self._broken:
            where = "" if quantization else "looked for in these files only: "
            note = f"{where}{found.message}"
        return [*_filling(first.manifests), *then.manifests], note

    def _quantization(self, quantization: FP8Quantization) -> list[Manifest]:
        observed = ObservedQuantization(quantization=quantization, children={}, claim=None, pods=())
        staged = _staged(quantization.spec, self._commit)
        first = calibration.desired(observed, self._defaults)
        then = calibration.desired(observed, self._defaults, staged)
        result = _result(quantization.spec, then.target.fingerprint or "")
        ready = replace(then.target, job=None, result=result)
        key = (quantization.namespace, quantization.name)
        self._ready[key] = (quantization, status.state(View(observed, ready)))
        prefetch = first.manifests if first.target.staged is None else ()
        # Each of its Jobs has a policy of its own; a server's policies are there before and after.
        return [*_filling(prefetch, {"NetworkPolicy"}), *then.manifests]


def without_programs(shown: Any) -> Any:
    """The same with a line in place of each program for pods, which nobody reads among manifests."""
    if isinstance(shown, dict):
        return {key: without_programs(value) for key, value in shown.items()}
    if isinstance(shown, list):
        return [without_programs(value) for value in shown]
    return _programs().get(shown, shown) if isinstance(shown, str) else shown


@cache
def _programs() -> dict[str, str]:
    """What is shown in place of a program, by its text: as it is in a file, and as it is in a command."""
    found: dict[str, str] = {}
    for file in (files("vllm_operator") / jobs.PACKAGE).iterdir():
        if file.name.endswith(".py"):
            text, data = file.read_text(), file.read_bytes()
            told = f"({file.name}: {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()})"
            found |= {text: told, engine.literal(text): told}
    return found


def _guessed(found: Quantizing, server: VLLMServer, quantization: FP8Quantization | None) -> bool:
    """Whether only a stand-in does not fit: a commit, or the generation of cards that are to measure."""
    if quantization is None or found.reason == Reason.GENERATION_MISMATCH:
        return quantization is None or quantization.spec.gaudi.generation is None
    return found.reason == Reason.MODEL_MISMATCH and server.spec.model.name == quantization.spec.model.name


def _filling(manifests: Iterable[Manifest], more: Collection[str] = ()) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in {*PREFETCH_KINDS, *more}]


def _staged(spec: FP8QuantizationSpec, commit: str) -> Staged:
    """What the prefetch of a calibration may find."""
    if spec.existing is not None:
        return recipe.nothing_staged(spec)
    found = "" if spec.model.name.startswith("/") else commit
    if spec.dataset is None:
        return Staged(found, names.HUB, None, None)
    sha256 = spec.dataset.url.sha256 if spec.dataset.url else NO_SHA256
    return Staged(found, names.HUB, f"{names.DATA}/datasets/{sha256}.pkl", sha256)


def _result(spec: FP8QuantizationSpec, fingerprint: str) -> Result:
    """What a calibration may bring."""
    generation = spec.gaudi.generation or "g2"
    folder = f"{recipe.ROOT}/{fingerprint}/{spec.model.name.rpartition('/')[2].lower()}"
    output = spec.existing.path if spec.existing else folder
    config = f"{output}/maxabs_quant_{generation}.json"
    artifacts = Artifacts(fingerprint, output, f"{output}/manifest.json", config, generation, NO_SHA256)
    return Result(artifacts, recipe.world_size(spec), None, 0, 0, NO_TIME, NO_TIME)
