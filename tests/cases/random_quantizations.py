"""FP8Quantizations at random."""

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.cases.full import Body
from tests.cases.random_specs import Kind
from tests.cases.table import DATASETS, QUANTIZATION

_INPUTS = ("dataset", "tasks", "existing")


def _mend(draw: DrawFn, spec: Body) -> None:
    spec["model"]["trustRemoteCode"] = True
    kept = draw(st.sampled_from(_INPUTS))
    for each in _INPUTS:
        if each != kept:
            del spec[each]
    if kept == "dataset":
        source = draw(st.sampled_from(sorted(spec["dataset"] or DATASETS)))
        spec["dataset"] = {source: spec["dataset"].get(source, DATASETS[source])}
    spec["backend"] = "Command" if kept == "tasks" else "Script"
    spec["tensorParallelSize"] = draw(st.sampled_from([1, 2, 4, 8]))
    if kept == "existing":
        for each in ("unifyTo", "sampleLimit", "expertParallel"):
            spec.pop(each, None)
    elif draw(st.booleans()):
        spec["unifyTo"] = max(1, spec["tensorParallelSize"] // 2)
    if spec["tensorParallelSize"] == 1:
        spec.pop("unifyTo", None)
    if "image" in spec:
        spec.setdefault("engine", {"family": "vllm-gaudi", "version": "0.26"})
    if "engine" in spec:
        spec["engine"]["family"] = "vllm-gaudi"


_QUANTIZATIONS = Kind(QUANTIZATION, _mend, _INPUTS)


@st.composite
def quantizations(draw: DrawFn) -> Body:
    """An FP8Quantization as an author may write it."""
    return _QUANTIZATIONS.draw(draw)
