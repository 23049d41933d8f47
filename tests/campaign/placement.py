"""Rows of the leaf table for Kubernetes' own types: affinity, tolerations, topologySpreadConstraints."""

from collections.abc import Iterator

from tests.campaign.base import PRIORITIES
from tests.campaign.table import GONE, Row, copied, leaf_of, plain, row
from tests.cases.table import REMOVED

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def expressions(path: str) -> Iterator[Row]:
    """A list of requirements, each a key, an operator and values."""
    yield copied(f"{path}.0.key", "shift")
    yield copied(f"{path}.0.operator", "NotIn" if "nodeAffinity" in path else "In")
    yield copied(f"{path}.0.values.0", "other")
    exists = {f"{path}.0.operator": "Exists", f"{path}.0.values": REMOVED}
    yield row(
        exists,
        {f"pod.{path}.0.operator": "Exists", f"pod.{path}.0.values": GONE},
        leaf=leaf_of(f"{path}.0.values.0"),
    )


def node_term(path: str) -> Iterator[Row]:
    """A term of a node affinity."""
    yield from expressions(f"{path}.matchExpressions")
    fields = f"{path}.matchFields"
    # There is one field that nodes can be chosen by, and its values are one.
    yield row({f"{fields}.0.key": "metadata.uid"}, stalled=("ChildRejected", "metadata.uid"))
    yield copied(f"{fields}.0.operator", "NotIn")
    yield copied(f"{fields}.0.values.0", "gaudi-1")
    yield row({fields: REMOVED}, {f"pod.{fields}": GONE})


def selector(path: str) -> Iterator[Row]:
    """A selector of pods."""
    yield from expressions(f"{path}.matchExpressions")
    labels = f"{path}.matchLabels"
    leaf = leaf_of(f"{labels}.*")
    yield row({labels: {"team": "c"}}, {f"pod.{labels}.team": "c"}, leaf=leaf)
    yield row({labels: {"crew": "a"}}, {f"pod.{labels}": GONE, f"pod.{labels}.crew": "a"}, leaf=leaf)
    yield row({labels: REMOVED}, {f"pod.{labels}": GONE})


def pod_term(path: str) -> Iterator[Row]:
    """A term of an affinity to pods, or against them."""
    yield from selector(f"{path}.labelSelector")
    yield copied(f"{path}.matchLabelKeys.0", "crew")
    yield copied(f"{path}.mismatchLabelKeys.0", "crew")
    yield copied(f"{path}.topologyKey", "kubernetes.io/arch")
    for keys in ("matchLabelKeys", "mismatchLabelKeys"):
        yield row({f"{path}.{keys}": REMOVED}, {f"pod.{path}.{keys}": GONE})


def affinity() -> Iterator[Row]:
    """`affinity`."""
    nodes = "affinity.nodeAffinity"
    yield from node_term(f"{nodes}.{REQUIRED}.nodeSelectorTerms.0")
    yield from node_term(f"{nodes}.{PREFERRED}.0.preference")
    yield copied(f"{nodes}.{PREFERRED}.0.weight", 2)
    for kind in ("affinity.podAffinity", "affinity.podAntiAffinity"):
        yield from pod_term(f"{kind}.{REQUIRED}.0")
        yield from pod_term(f"{kind}.{PREFERRED}.0.podAffinityTerm")
        yield copied(f"{kind}.{PREFERRED}.0.weight", 2)
    for part in (nodes, "affinity.podAffinity", "affinity.podAntiAffinity"):
        for strictness in (REQUIRED, PREFERRED):
            yield row({f"{part}.{strictness}": REMOVED}, {f"pod.{part}.{strictness}": GONE})
        yield row({part: REMOVED}, {f"pod.{part}": GONE})
    yield row({"affinity": REMOVED}, {"pod.affinity": GONE})


def tolerations() -> Iterator[Row]:
    """`tolerations`."""
    first = "tolerations.0"
    yield copied(f"{first}.key", "c")
    yield copied(f"{first}.value", "c")
    exists = {f"{first}.operator": "Exists", f"{first}.value": REMOVED}
    yield row(exists, {f"pod.{first}.operator": "Exists", f"pod.{first}.value": GONE})
    effect = {f"{first}.effect": "NoSchedule", f"{first}.tolerationSeconds": REMOVED}
    yield row(effect, {f"pod.{first}.effect": "NoSchedule", f"pod.{first}.tolerationSeconds": GONE})
    yield copied(f"{first}.tolerationSeconds", 30)
    yield row({"tolerations": REMOVED}, {"pod.tolerations": GONE})


def spread() -> Iterator[Row]:
    """`topologySpreadConstraints`."""
    first = "topologySpreadConstraints.0"
    yield copied(f"{first}.maxSkew", 2)
    yield copied(f"{first}.topologyKey", "kubernetes.io/arch")
    anyway = {f"{first}.whenUnsatisfiable": "ScheduleAnyway", f"{first}.minDomains": REMOVED}
    shown = {f"pod.{first}.whenUnsatisfiable": "ScheduleAnyway", f"pod.{first}.minDomains": GONE}
    yield row(anyway, shown)
    yield from selector(f"{first}.labelSelector")
    yield copied(f"{first}.matchLabelKeys.0", "crew")
    yield copied(f"{first}.minDomains", 2)
    yield copied(f"{first}.nodeAffinityPolicy", "Ignore")
    yield copied(f"{first}.nodeTaintsPolicy", "Ignore")
    for field in ("matchLabelKeys", "minDomains", "nodeAffinityPolicy", "nodeTaintsPolicy"):
        yield row({f"{first}.{field}": REMOVED}, {f"pod.{first}.{field}": GONE})
    own = f"pod.{first}.labelSelector"
    labels = {"vllm-operator.dev/server": "chat", "app.kubernetes.io/component": "server"}
    yield row({f"{first}.labelSelector": REMOVED}, {own: GONE, f"{own}.matchLabels": labels})
    yield row({"topologySpreadConstraints": REMOVED}, {"pod.topologySpreadConstraints": GONE})


def nodes() -> Iterator[Row]:
    """`nodeSelector` and `priorityClassName`."""
    leaf, place = "spec.nodeSelector.*", "pod.nodeSelector"
    arch, os = "kubernetes.io/arch", "kubernetes.io/os"
    yield row({"nodeSelector": {arch: "arm64"}}, {f"{place}.{arch}": "arm64"}, leaf=leaf)
    yield row({"nodeSelector": {os: "linux"}}, {place: GONE, f"{place}.{os}": "linux"}, leaf=leaf)
    yield row({"nodeSelector": REMOVED}, {place: GONE}, leaf=leaf)
    yield from plain("priorityClassName", PRIORITIES[1], "pod.priorityClassName", PRIORITIES[1])


def rows() -> list[Row]:
    """Every row of these types."""
    return [*of_both_kinds(), *spread()]


def of_both_kinds() -> list[Row]:
    """Those that quantizations have too."""
    return [*affinity(), *tolerations(), *nodes()]
