"""What `render` shows: children as they would be, with stand-ins for what only Jobs in a cluster find out."""

from collections.abc import Iterable
from dataclasses import replace

from vllm_operator.api.fp8quantization import FP8Quantization, FP8QuantizationSpec
from vllm_operator.api.kinds import Ours
from vllm_operator.api.observed import Artifacts, Cached, Observed, QuantizationState
from vllm_operator.api.quantized import ObservedQuantization, Result, Staged
from vllm_operator.api.reasons import Reason
from vllm_operator.api.seen import Manifest
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.desired import calibration, names, recipe
from vllm_operator.desired.defaults import Defaults
from vllm_operator.desired.server import PREFETCH_KINDS, desired
from vllm_operator.status import quantization as status
from vllm_operator.status.view import View

NO_SHA256 = "0" * 64
NO_TIME = "1970-01-01T00:00:00Z"


class Preview:
    """Shows resources one by one. A quantization that is shown before a server is ready for it."""

    def __init__(self, defaults: Defaults, commit: str) -> None:
        self._defaults = defaults
        self._commit = commit
        self._ready: dict[tuple[str, str], QuantizationState] = {}

    def show(self, resource: Ours) -> tuple[list[Manifest], str]:
        """Children of a resource: what fills its cache first; and what to know of it.

        Raises StalledError.
        """
        return (
            self._quantization(resource) if isinstance(resource, FP8Quantization) else self._server(resource)
        )

    def _server(self, server: VLLMServer) -> tuple[list[Manifest], str]:
        reference = server.spec.fp8.quantization_ref if server.spec.fp8 else None
        state = self._ready.get((server.namespace, reference.name)) if reference else None
        observed = Observed(server=server, children={}, claim=None, pods=(), quantization=state)
        first = desired(observed, self._defaults)
        then = desired(observed, self._defaults, Cached(self._commit, names.HUB))
        found = then.target.quantizing
        note = found.message if found is not None and found.reason != Reason.QUANTIZED else ""
        return [*_filling(first.manifests), *then.manifests], note

    def _quantization(self, quantization: FP8Quantization) -> tuple[list[Manifest], str]:
        observed = ObservedQuantization(quantization=quantization, children={}, claim=None, pods=())
        staged = _staged(quantization.spec, self._commit)
        first = calibration.desired(observed, self._defaults)
        then = calibration.desired(observed, self._defaults, staged)
        result = _result(quantization.spec, then.target.fingerprint or "")
        ready = replace(then.target, job=None, result=result)
        self._ready[quantization.namespace, quantization.name] = status.state(View(observed, ready))
        prefetch = first.manifests if first.target.staged is None else ()
        return [*_filling(prefetch), *then.manifests], ""


def _filling(manifests: Iterable[Manifest]) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in PREFETCH_KINDS]


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
