"""Rows of the leaf table for `fp8`; of a quantization's own leaves tell the rows of `quantizations`."""

from collections.abc import Iterator
from dataclasses import replace

from tests.campaign.table import GONE, OTHER, Row, row
from tests.cases.table import REMOVED

NAMED = {"quantizationRef": {"name": "llama"}}
BF16 = {
    "args.--quantization": GONE,
    "annotations.vllm-operator.dev/quant-config": GONE,
    "container.volumeMounts.fp8": GONE,
    "pod.volumes.fp8": GONE,
    "env.QUANT_CONFIG": GONE,
    "env.RUNTIME_SCALE_PATCHING": GONE,
    "recipes": OTHER,
    "status.precision": "bf16",
}
"""The same server in BF16."""
NOBODY = "there is no FP8Quantization {} in namespace"


def fp8() -> Iterator[Row]:
    """Of a quantization that is not there; tests/cluster/test_promotion.py tells of one that is."""
    for name in ("llama", "other"):
        change = {"fp8": {"quantizationRef": {"name": name}}}
        # The pods that serve in FP8 stay as they are.
        nobody = ("QuantizationNotFound", NOBODY.format(name))
        yield row(change, leaf="spec.fp8.quantizationRef.name", stalled=nobody)
    words = "whilePending: Wait has an effect only with quantizationRef"
    yield row({"fp8.whilePending": "Wait"}, refused=words)
    yield row({"fp8.whilePending": "ServeBF16"})  # it was the default
    yield row({"fp8": REMOVED}, BF16, leaf="spec.fp8.mode")
    leaf = "spec.fp8.whilePending"
    yield row({"fp8": NAMED}, BF16, leaf=leaf, fresh=True)
    none = BF16 | {"deployment.spec.replicas": 0}
    yield row({"fp8": NAMED | {"whilePending": "Wait"}}, none, leaf=leaf, fresh=True)
    yield row({"fp8": {}}, refused="give exactly one of quantizationRef", leaf="spec.fp8.mode")


def rows() -> list[Row]:
    """Every row."""
    return [replace(each, base="fp8") for each in fp8()]
