"""Whether a quantization is for a server: one check for each thing that they must have in common.

Each is made as soon as both sides are known, also while the calibration runs: nobody is to wait an hour to
learn that the result is of no use.
"""

from collections.abc import Callable
from dataclasses import dataclass

from vllm_operator.api.observed import QuantizationState
from vllm_operator.api.reasons import Reason
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.desired import names
from vllm_operator.desired.defaults import Image
from vllm_operator.desired.profile import stem_of


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What keeps a server from FP8."""

    reason: Reason
    message: str
    """What it is, and the way out; without a full stop."""
    stalled: bool = False
    mismatch: bool = False
    """Whether the quantization is of no use to this server, ready or not."""


@dataclass(frozen=True, slots=True)
class _Pair:
    server: VLLMServer
    state: QuantizationState
    image: Image
    commit: str | None
    """Commit that the server's cache holds, where a prefetch has filled it."""
    fetched_later: bool
    """Whether a prefetch has yet to find the commit."""

    @property
    def name(self) -> str:
        fp8 = self.server.spec.fp8
        return fp8.quantization_ref.name if fp8 and fp8.quantization_ref else ""

    def kubectl(self, words: str) -> str:
        return names.kubectl(self.server.namespace, words)

    def patch(self, spec: str) -> str:
        return self.kubectl(f"patch vllm {self.server.name} --type=merge -p '{{\"spec\":{spec}}}'")


def find(
    server: VLLMServer,
    state: QuantizationState | None,
    image: Image,
    commit: str | None,
    *,
    fetched_later: bool,
) -> Obstacle | None:
    """The first thing in which a server and a quantization do not fit, as far as both are known."""
    # Of a quantization that cannot be read nothing is known.
    if state is None or not (state.model or state.result):
        return None
    pair = _Pair(server, state, image, commit, fetched_later)
    found = ((reason, check(pair)) for reason, check in CHECKS)
    return next((Obstacle(r, told, stalled=True, mismatch=True) for r, told in found if told), None)


def _model(pair: _Pair) -> str:
    wanted, measured = pair.server.spec.model.name, pair.state.model
    if wanted == measured:
        return ""
    return (
        f"spec.model.name is {wanted!r}, and FP8Quantization {pair.name} is of {measured!r}: name one of "
        f"the former in spec.fp8.quantizationRef ({pair.kubectl('get fp8q')})"
    )


def _commit(pair: _Pair) -> str:
    state, revision = pair.state, pair.server.spec.model.revision
    if state.commit and pair.commit is not None:
        return "" if pair.commit == state.commit else _other_commit(pair, f"the cache holds {pair.commit}")
    if state.commit:
        if pair.fetched_later or revision in (state.revision, state.commit):
            return ""
        return _other_commit(pair, f"it is {revision or 'unset'}, and no prefetch says which commit that is")
    # It has no commit for good only when there is a result.
    if state.result is None or revision == state.revision:
        return ""
    return (
        f"spec.model.revision is {revision or 'unset'}, and that of FP8Quantization {pair.name}, whose "
        f"commit is not known, is {state.revision or 'unset'}: give both the same"
    )


def _other_commit(pair: _Pair, is_: str) -> str:
    commit = pair.state.commit
    line = pair.patch(f'{{"model":{{"revision":"{commit}"}}}}')
    return (
        f"spec.model.revision: {is_}; FP8Quantization {pair.name} has measured commit {commit}. Name that "
        f"({line}), or apply an FP8Quantization of the other and name it in spec.fp8.quantizationRef"
    )


def _claim(pair: _Pair) -> str:
    own, its = names.claim(pair.server), pair.state.claim
    if own == its:
        return ""
    return (
        f"spec.cache: the server's cache is claim {own}, and the result of FP8Quantization {pair.name} is in "
        f"claim {its}: apply an FP8Quantization with spec.cache.claimName {own} and name it in "
        f"spec.fp8.quantizationRef, or give the server spec.cache.claimName {its}"
    )


def _engine(pair: _Pair) -> str:
    own, its = pair.image.engine, pair.state.engine
    if stem(own) == stem(its):
        return ""
    line = pair.kubectl(f"get fp8q {pair.name} -o jsonpath='{{.status.image}}'")
    return (
        f"spec.image: the server runs {own} ({pair.image.image}), and FP8Quantization {pair.name} measures "
        f"with {its}: name its image ({line}) and engine in spec.image and spec.engine, or apply an "
        "FP8Quantization with the server's and name it in spec.fp8.quantizationRef"
    )


def stem(engine: str) -> str:
    """Family and minor version of an engine; a record that somebody has spoiled may hold none."""
    family, _, version = engine.partition(" ")
    return stem_of(family, version)


def _tensor_parallel_size(pair: _Pair) -> str:
    own, its = pair.server.spec.tensor_parallel_size, pair.state.world_size
    if own == its:
        return ""
    line = pair.patch(f'{{"tensorParallelSize":{its}}}')
    return (
        f"spec.tensorParallelSize is {own}, and the result of FP8Quantization {pair.name} is for {its}: set "
        f"it ({line}), or apply an FP8Quantization for {own} and name it in spec.fp8.quantizationRef"
    )


def _generation(pair: _Pair) -> str:
    asked, found = pair.server.spec.gaudi.generation, pair.state.result
    if asked is None or found is None or asked == found.generation:
        return ""
    line = pair.patch(f'{{"gaudi":{{"generation":"{found.generation}"}}}}')
    return (
        f"spec.gaudi.generation is {asked}, and FP8Quantization {pair.name} was measured on "
        f"{found.generation}: set it ({line}), or apply an FP8Quantization with spec.gaudi.generation "
        f"{asked} and name it in spec.fp8.quantizationRef"
    )


CHECKS: tuple[tuple[Reason, Callable[[_Pair], str]], ...] = (
    (Reason.MODEL_MISMATCH, _model),
    (Reason.MODEL_MISMATCH, _commit),
    (Reason.CACHE_MISMATCH, _claim),
    (Reason.ENGINE_MISMATCH, _engine),
    (Reason.TENSOR_PARALLEL_MISMATCH, _tensor_parallel_size),
    (Reason.GENERATION_MISMATCH, _generation),
)
