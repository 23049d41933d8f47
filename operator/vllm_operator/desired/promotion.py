"""Promotion: whether a server may serve in FP8 by the quantization that it names, and what serves until then.

An FP8 revision is made only when the result is there and fits the server. What serves goes on until then:
nothing that becomes of a quantization takes a revision back.
"""

from collections.abc import Hashable
from dataclasses import replace

from vllm_operator.api.observed import (
    Artifacts,
    Observed,
    Prefetch,
    Quantization,
    QuantizationState,
    Quantizing,
    RecordFacts,
)
from vllm_operator.api.reasons import Reason
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.desired import mismatch, names, records
from vllm_operator.desired.defaults import Defaults, Image
from vllm_operator.desired.mismatch import Obstacle, stem


def find(
    observed: Observed, image: Image, prefetch: Prefetch | None, defaults: Defaults
) -> Quantizing | None:
    """How it stands with the FP8 that a server asks for; None where it asks for none."""
    fp8 = observed.server.spec.fp8
    if fp8 is None:
        return None
    if fp8.quantization_ref is None:
        message = "spec.fp8.mode is Dynamic: scales are taken as requests come"
        return Quantizing(Reason.QUANTIZED, message, "fp8")
    name, state = fp8.quantization_ref.name, observed.quantization
    commit = prefetch.cached.commit if prefetch and prefetch.cached else None
    unknown = prefetch is not None and commit is None
    obstacle = mismatch.find(observed.server, state, image, commit, fetched_later=unknown)
    if obstacle is None and state is not None and state.result is not None:
        return _usable(Quantization(name, state.result), defaults, unknown=unknown)
    obstacle = obstacle or _pending(observed.server, name, state)
    kept = None if obstacle.mismatch else _kept(observed, name, image, prefetch)
    return _carried(obstacle, kept) if kept else _meanwhile(observed, obstacle)


def basis(observed: Observed) -> Hashable:
    """What this looks at beyond the server, its records and its prefetch."""
    fp8, deployment = observed.server.spec.fp8, observed.deployment
    if fp8 is None or fp8.quantization_ref is None:
        return None
    return observed.quantization, (deployment.record, deployment.wanted_replicas > 0) if deployment else None


def empties(observed: Observed, quantizing: Quantizing | None) -> bool:
    """Whether there are to be no pods until the quantization is ready, whoever has set another number."""
    fp8, deployment = observed.server.spec.fp8, observed.deployment
    if fp8 is None or quantizing is None or not quantizing.waits or quantizing.held:
        return False
    if quantizing.precision == "bf16":
        return True
    # Ready, and the cache is not filled yet: pods that there are serve on, and none are made that would go.
    return fp8.while_pending == "Wait" and deployment is not None and not deployment.wanted_replicas


def _usable(used: Quantization, defaults: Defaults, *, unknown: bool) -> Quantizing:
    found = used.artifacts
    result = f"result {found.fingerprint} of FP8Quantization {used.name}, measured on {found.generation}"
    if unknown:
        message = f"The cache is being filled; then its commit is compared with that of {result}"
        return Quantizing(Reason.PREFETCHING, message, "fp8", used, waits=True)
    return Quantizing(Reason.QUANTIZED, f"FP8 by {result}{_nodes(found, defaults)}", "fp8", used)


def _nodes(found: Artifacts, defaults: Defaults) -> str:
    """What to know where nothing keeps pods from cards of another generation."""
    if defaults.generations.get(found.generation):
        return ""
    return (
        f". The operator is not told which nodes have cards of {found.generation}, and the result is of no "
        f"use on others: where there are any, set VLLM_OPERATOR_GAUDI_{found.generation.upper()}_NODES of "
        "the operator, or spec.nodeSelector"
    )


def _pending(server: VLLMServer, name: str, state: QuantizationState | None) -> Obstacle:
    """Why there is no result."""
    get = names.kubectl(server.namespace, "get fp8q")
    if state is None:
        return Obstacle(
            Reason.QUANTIZATION_NOT_FOUND,
            f"spec.fp8.quantizationRef: there is no FP8Quantization {name} in namespace {server.namespace}. "
            f"Apply it, or name one of those that there are ({get})",
            stalled=True,
        )
    if state.failure:
        describe = names.kubectl(server.namespace, f"describe fp8q {name}")
        return Obstacle(
            Reason.QUANTIZATION_FAILED,
            f"FP8Quantization {name}, which spec.fp8.quantizationRef names, has failed: "
            f"{state.failure.rstrip('.')}. See {describe}",
            stalled=True,
        )
    waits = f" It waits ({state.waits}); its own status says for what, and what to do." if state.waits else ""
    see = names.kubectl(server.namespace, f"get fp8q {name}")
    return Obstacle(
        Reason.CALIBRATING,
        f"FP8Quantization {name}, which spec.fp8.quantizationRef names, is not ready yet.{waits} See {see}",
    )


def _kept(observed: Observed, name: str, image: Image, prefetch: Prefetch | None) -> Quantization | None:
    """The result that the newest revision by this quantization serves with, where it fits this one too."""
    of_it = [r for r in observed.records if r.quantization and r.quantization.name == name]
    if not of_it or not _alike(of_it[-1], observed.server, prefetch):
        return None
    record, spec = of_it[-1], observed.server.spec
    found = record.quantization
    if (record.tensor_parallel_size, stem(record.engine)) != (
        spec.tensor_parallel_size,
        stem(image.engine),
    ):
        return None
    if found is None or spec.gaudi.generation not in (None, found.artifacts.generation):
        return None
    return found


def _alike(record: RecordFacts, server: VLLMServer, prefetch: Prefetch | None) -> bool:
    """Whether a record is of the same weights; a refresh that has found the same commit changes nothing."""
    source = records.source(server)
    if record.source == source:
        return True
    same = prefetch is not None and prefetch.cached is not None and prefetch.cached == record.cached
    return same and record.source._replace(refresh=source.refresh) == source


def _carried(obstacle: Obstacle, kept: Quantization) -> Quantizing:
    """The revision asked for is made with the result that is recorded."""
    message = (
        f"{obstacle.message}. The pods go on in FP8 with its result {kept.artifacts.fingerprint}, which "
        "their record holds"
    )
    return Quantizing(obstacle.reason, message, "fp8", kept)


def _meanwhile(observed: Observed, obstacle: Obstacle) -> Quantizing:
    """What is done while the FP8 revision that is asked for cannot be made."""
    server, fp8 = observed.server, observed.server.spec.fp8
    running = records.running(observed)
    pending = Quantizing(
        obstacle.reason,
        obstacle.message,
        "bf16",
        stalled=obstacle.stalled,
        mismatch=obstacle.mismatch,
    )
    if running is not None and running.fp8:
        bf16 = _patch(server, "null")
        message = (
            f"{obstacle.message}. Until then the revision before goes on in FP8, and what decides pods is "
            f"not changed. To serve in BF16, remove spec.fp8: {bf16}"
        )
        used = running.quantization
        return replace(pending, message=message, precision="fp8", used=used, waits=True, held=True)
    if fp8 is not None and fp8.while_pending == "Wait":
        meanwhile = _patch(server, '{"whilePending":"ServeBF16"}')
        message = (
            f"{obstacle.message}. Until then there are no pods (spec.fp8.whilePending: Wait). To serve in "
            f"BF16 meanwhile: {meanwhile}"
        )
        return replace(pending, message=message, waits=True)
    message = f"{obstacle.message}. Until then pods serve in BF16"
    if observed.quantization is not None and observed.quantization.waits == Reason.WAITING_FOR_ACCELERATORS:
        cards = _patch(server, '{"whilePending":"Wait"}')
        message = f"{message}; to give the calibration their cards: {cards}"
    return replace(pending, message=message)


def _patch(server: VLLMServer, fp8: str) -> str:
    body = f'{{"spec":{{"fp8":{fp8}}}}}'
    return names.kubectl(server.namespace, f"patch vllm {server.name} --type=merge -p '{body}'")
