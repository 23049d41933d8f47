"""What is true of a server that asks for FP8."""

from vllm_operator.api.calibration import CalibrationFailure, read_report
from vllm_operator.api.observed import Quantizing, Target
from vllm_operator.api.reasons import Reason
from vllm_operator.desired import names
from vllm_operator.status.conditions import Verdict
from vllm_operator.status.view import View


def _of(view: View) -> Quantizing | None:
    return view.target.quantizing if isinstance(view.target, Target) else None


def quantized(view: View) -> Verdict | None:
    """Whether the revision asked for serves, or will serve, in FP8; None where it is not asked for."""
    found = _of(view)
    if found is None:
        return None
    return Verdict(found.precision == "fp8" and not found.waits, found.reason, found.message)


def pending(view: View) -> Verdict | None:
    """The revision asked for cannot be made before its quantization is as it should be."""
    found = _of(view)
    if found is None or not found.waits:
        return None
    return Verdict(False, found.reason, found.message, stalled=found.stalled)


def misfit(view: View, serving: Verdict) -> Verdict:
    """What serves in BF16 is not what is asked for, and never will be, if the quantization does not fit."""
    found = _of(view)
    if found is None or not found.mismatch or serving.reason != Reason.SERVING:
        return serving
    return Verdict(False, found.reason, found.message, stalled=True)


def serves_on(view: View) -> bool:
    """Whether pods serve, though not what is asked for."""
    found = _of(view)
    return found is not None and (found.held or (found.mismatch and not found.waits))


def artifacts_changed(view: View) -> Verdict | None:
    """The files of the calibration are not those of this revision: a look before the start has found so."""
    for pod in view.pods():
        said = read_report(pod.last_words) if pod.container == names.VERIFY else None
        if not isinstance(said, CalibrationFailure) or said.reason != Reason.ARTIFACTS_CHANGED:
            continue
        found = _of(view)
        name = found.used.name if found and found.used else "NAME"
        delete = view.kubectl(f"delete fp8q {name}")
        message = (
            f"Pod {pod.name} does not start vLLM: {said.message.rstrip('.')}. To calibrate again: {delete}, "
            f"and apply it again; pods that serve go on. See "
            f"{view.kubectl(f'logs {pod.name} -c {names.VERIFY}')}"
        )
        return Verdict(False, Reason.ARTIFACTS_CHANGED, message, stalled=True)
    return None
