"""VLLMServers at random."""

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.cases.full import Body
from tests.cases.random_specs import Kind
from tests.cases.table import SERVER


def _cached(draw: DrawFn, cache: Body) -> Body:
    """A cache that is either made or given."""
    if draw(st.booleans()):
        return {"claimName": cache.get("claimName", "weights")} | {
            key: value for key, value in cache.items() if key == "fsGroup"
        }
    return {"size": "50Gi"} | {key: value for key, value in cache.items() if key != "claimName"}


def _mend(draw: DrawFn, spec: Body) -> None:
    spec["cache"] = _cached(draw, spec["cache"])
    if "image" in spec:
        spec.setdefault("engine", {"family": "vllm", "version": "0.32"})
    if "rollout" in spec and draw(st.booleans()):
        spec["rollout"].pop("progressDeadlineSeconds", None)
    if "autoscaling" in spec:
        fewest = spec["autoscaling"].get("minReplicas", 1)
        spec["autoscaling"]["maxReplicas"] = max(fewest, spec["autoscaling"]["maxReplicas"])
    if spec.get("cpu", {}).get("threadsBind", "auto") != "auto":
        spec["cpu"].pop("reservedCores", None)


_SERVERS = Kind(SERVER, _mend)


@st.composite
def servers(draw: DrawFn) -> Body:
    """A VLLMServer as an author may write it."""
    return _SERVERS.draw(draw)
