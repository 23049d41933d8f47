"""How a server comes to serve in FP8."""

from typing import ClassVar, Literal

from vllm_operator.api.meta import Model, Rule
from vllm_operator.api.parts import LocalReference


class Fp8(Model):
    """Serve in FP8: by an FP8Quantization (`quantizationRef`), or without calibration (`mode: Dynamic`)."""

    rules: ClassVar = (
        Rule(
            "has(self.quantizationRef) != has(self.mode)",
            "give exactly one of quantizationRef (scales of a calibration) or mode: Dynamic (scales are "
            "taken as requests come)",
            lambda f: (f.quantization_ref is None) != (f.mode is None),
        ),
        Rule(
            "!has(self.mode) || self.whilePending != 'Wait'",
            "whilePending: Wait has an effect only with quantizationRef: with mode: Dynamic there is nothing "
            "to wait for; remove it",
            lambda f: f.mode is None or f.while_pending != "Wait",
        ),
    )

    quantization_ref: LocalReference | None = None
    """FP8Quantization whose result is served. It must be of this model, commit, tensorParallelSize, cache and
    engine."""
    mode: Literal["Dynamic"] | None = None
    """`Dynamic` takes the scales of activations as requests come: no calibration, but slower than one."""
    while_pending: Literal["ServeBF16", "Wait"] = "ServeBF16"
    """What is done until the quantization is ready: serve in BF16, or wait with no pod, so that the
    calibration can have the cards. A revision that serves in FP8 already goes on in both cases."""
