"""Parts of VLLMServers at random in which mere chance would hardly ever make sense."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

Drawn = SearchStrategy[Any]

KEYS = st.sampled_from(
    ["a", "disk", "kubernetes.io/hostname", "topology.kubernetes.io/zone", "x.example/A_b.c", "a" * 63]
)
VALUES = st.sampled_from(["", "a", "A_b.c-D", "0", "true", "no", "a" * 63])
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.sampled_from(["a", "{{ a }}", "$(A)", "a\nb", "\x85\u2028\ufeff", "no", "1e3", "~", "\U0001f600"]),
)

_AMOUNTS = st.integers(1, 4096).map(str)
# None beyond 8Pi: the API server takes whole bytes there for fractions, and warns of them.
QUANTITIES = st.one_of(
    st.integers(1, 64),
    st.builds("".join, st.tuples(_AMOUNTS, st.sampled_from(["", "k", "M", "G", "Ki", "Mi", "Gi", "e3"]))),
    st.builds("{}.{}{}".format, _AMOUNTS, st.integers(0, 999), st.sampled_from(["G", "Gi", "Ti", "M", ""])),
    st.sampled_from(["500m", "1n", "0", "07Gi", ".5Gi", "5.Gi", "1E3", "1500m"]),
)


def _objects(required: dict[str, Drawn], optional: dict[str, Drawn]) -> Drawn:
    return st.fixed_dictionaries(required, optional=optional)


def _one_or_more(items: Drawn) -> Drawn:
    return st.lists(items, min_size=1, max_size=2)


def _requirements(*more: str) -> Drawn:
    with_values = _objects(
        {"key": KEYS, "operator": st.sampled_from(["In", "NotIn"]), "values": _one_or_more(VALUES)}, {}
    )
    without = _objects({"key": KEYS, "operator": st.sampled_from(["Exists", "DoesNotExist"])}, {})
    if not more:
        return with_values | without
    number = st.lists(st.integers(0, 9).map(str), min_size=1, max_size=1)
    return (
        with_values
        | without
        | _objects({"key": KEYS, "operator": st.sampled_from(more), "values": number}, {})
    )


_SELECTORS = _objects(
    {},
    {
        "matchLabels": st.dictionaries(KEYS, VALUES, max_size=2),
        "matchExpressions": st.lists(_requirements(), max_size=2),
    },
)

_NODE_FIELDS = _objects(
    {"key": st.just("metadata.name"), "operator": st.just("In"), "values": st.just(["node-1"])}, {}
)
_NODE_TERMS = _objects(
    {},
    {
        "matchExpressions": st.lists(_requirements("Gt", "Lt"), max_size=2),
        "matchFields": st.lists(_NODE_FIELDS, max_size=1),
    },
)
_POD_TERMS = _objects(
    {"topologyKey": KEYS, "labelSelector": _SELECTORS},
    {"matchLabelKeys": st.just(["pod-template-hash"]), "mismatchLabelKeys": st.just(["tenant"])},
)
_WEIGHTS = st.integers(1, 100)
_WEIGHED_PODS = _objects({"weight": _WEIGHTS, "podAffinityTerm": _POD_TERMS}, {})

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_POD_AFFINITY = _objects(
    {}, {_REQUIRED: st.lists(_POD_TERMS, max_size=2), _PREFERRED: st.lists(_WEIGHED_PODS, max_size=2)}
)
AFFINITY = _objects(
    {},
    {
        "nodeAffinity": _objects(
            {},
            {
                _REQUIRED: _objects({"nodeSelectorTerms": _one_or_more(_NODE_TERMS)}, {}),
                _PREFERRED: st.lists(
                    _objects({"weight": _WEIGHTS, "preference": _NODE_TERMS}, {}), max_size=2
                ),
            },
        ),
        "podAffinity": _POD_AFFINITY,
        "podAntiAffinity": _POD_AFFINITY,
    },
)

_EFFECTS = st.sampled_from(["", "NoSchedule", "PreferNoSchedule", "NoExecute"])
TOLERATIONS = st.lists(
    _objects({"key": KEYS}, {"operator": st.sampled_from(["", "Equal"]), "value": VALUES, "effect": _EFFECTS})
    | _objects({"operator": st.just("Exists")}, {"key": KEYS, "effect": _EFFECTS})
    | _objects(
        {"key": KEYS, "effect": st.just("NoExecute"), "tolerationSeconds": st.integers(-1, 2**53 - 1)}, {}
    ),
    max_size=3,
)

_POLICIES = st.sampled_from(["Honor", "Ignore"])
SPREADS = st.lists(
    _objects(
        {
            "maxSkew": st.integers(1, 3),
            "topologyKey": KEYS,
            "whenUnsatisfiable": st.sampled_from(["DoNotSchedule", "ScheduleAnyway"]),
        },
        {
            "labelSelector": _SELECTORS,
            "nodeAffinityPolicy": _POLICIES,
            "nodeTaintsPolicy": _POLICIES,
            "matchLabelKeys": st.just(["pod-template-hash"]),
        },
    ),
    max_size=2,
    unique_by=lambda spread: (spread["topologyKey"], spread["whenUnsatisfiable"]),
)

_BLOCKS = _objects(
    {"cidr": st.sampled_from(["10.0.0.0/8", "0.0.0.0/0"])},
    {"except": st.lists(st.sampled_from(["10.1.0.0/16", "10.2.3.4/32"]), max_size=2, unique=True)},
)
PEERS = st.lists(
    _objects({"podSelector": _SELECTORS}, {"namespaceSelector": _SELECTORS})
    | _objects({"namespaceSelector": _SELECTORS}, {})
    | _objects({"ipBlock": _BLOCKS}, {}),
    min_size=1,
    max_size=2,
)
