"""Cases of what pods take over: labels, annotations, places, accounts, proxies."""

from collections.abc import Iterator

from tests.cases.builders import maps, optional, required, things, words
from tests.cases.embedded import embedded
from tests.cases.rules import (
    CONTROLS,
    EMOJI,
    ONE_PROXY,
    PASSWORD,
    QUALIFIED,
    RESERVED_ANNOTATION,
    RESERVED_LABEL,
    TOGETHER,
    data_keys,
    object_names,
)
from tests.cases.table import REMOVED, Case, Change, accept, refuse

GOOD_KEYS = (
    *("a", "A_b.c-D", "0", "a.b/c", "a-b.c/D.e", "a" * 63, "a" * 253 + "/" + "b" * 63, "a/b"),
    *("example.com/some-name", "service.beta.kubernetes.io/aws-load-balancer-type"),
)
BAD_KEYS = (
    *("", "/", "/a", "a/", "a/b/c", "A.b/c", "-a", "a-", "_a", ".a", "a.", "a" * 64, "a" * 254 + "/b"),
    *("a b", "ä", "a\n", "a.-b/c", "a..b/c", "-a/b", "a_b/c", "{{a}}", "a:b", "a=b"),
)

PROMISED_LABELS = (
    *("app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by"),
    *("app.kubernetes.io/component", "pod-template-hash"),
)
PROMISED_KEYS = (
    *("vllm-operator.dev/server", "vllm-operator.dev/record", "vllm-operator.dev/x"),
    *("container.apparmor.security.beta.kubernetes.io/vllm", "seccomp.security.alpha.kubernetes.io/pod"),
)
"""Keys that others set, or that would loosen what pods may do, whatever the code's own list holds."""


def labels() -> Iterator[Case]:
    yield from _labels("spec.nodeSelector", "disk")
    yield from further_labels("spec.podLabels", "team")
    for key in (*PROMISED_LABELS, "vllm-operator.dev/pool"):
        yield accept(f"nodes labelled {key}", {"spec.nodeSelector": {key: "a"}})


def _labels(path: str, key: str) -> Iterator[Case]:
    values = ("a", "A", "a-b_c.D", "0", "true")
    wrong = ("-a", "a-", ".a", "a.", "a b", "a/b", "ä", "a\n", "{{ a }}")
    yield from _keys(path)
    yield from words(f"{path}.{key}", longest=63, good=values, bad=wrong, empty=True)


def further_labels(path: str, key: str) -> Iterator[Case]:
    """Labels beside those that others set; the full object has one of this key."""
    yield from _labels(path, key)
    free = ("app.kubernetes.io/version", "app.kubernetes.io/part-of", "app", "x-vllm-operator.dev/a")
    reserved = (*PROMISED_LABELS, *PROMISED_KEYS)
    yield from _reserved(path, RESERVED_LABEL, free=free, reserved=reserved)


def service_annotations() -> Iterator[Case]:
    return _annotations("spec.service.annotations")


def _annotations(path: str) -> Iterator[Case]:
    good = ("a", "a b", CONTROLS, EMOJI, "a\nb", "{{ a }}", "$(A)", "no", "\x00")
    yield from _keys(path)
    yield from words(f"{path}.note", longest=4096, good=good, empty=True, fill="\U0001f600")


def annotations() -> Iterator[Case]:
    yield from _annotations("spec.podAnnotations")
    free = ("prometheus.io/scrape", "sidecar.istio.io/inject", "kubectl.kubernetes.io/default-container")
    reserved = ("kubectl.kubernetes.io/restartedAt", *PROMISED_KEYS)
    yield from _reserved("spec.podAnnotations", RESERVED_ANNOTATION, free=free, reserved=reserved)


def _keys(path: str) -> Iterator[Case]:
    yield from optional(path)
    yield from maps(path, 32)
    for number, key in enumerate(GOOD_KEYS):
        yield accept(f"{path}: good key {number} {key:.45}", {path: {key: "a"}}, rule=QUALIFIED)
    for number, key in enumerate(BAD_KEYS):
        name = f"{path}: bad key {number} {key!a:.45}"
        yield refuse(name, {path: {"good": "a", key: "a"}}, path, rule=QUALIFIED)


def _reserved(path: str, rule: str, *, free: tuple[str, ...], reserved: tuple[str, ...]) -> Iterator[Case]:
    for key in free:
        yield accept(f"{path}: free key {key}", {path: {key: "a"}}, rule=rule)
    for key in reserved:
        yield refuse(f"{path}: reserved key {key}", {path: {"good": "a", key: "a"}}, path, rule=rule)


def proxy() -> Iterator[Case]:
    here = "spec.proxy"
    yield from things(here)
    yield from optional(here, *(f"{here}.{field}" for field in ("httpProxy", "httpsProxy", "noProxy")))
    for field in ("httpProxy", "httpsProxy"):
        path = f"{here}.{field}"
        good = ("http://proxy", "https://proxy.example:3128/", "http://[::1]:3128", "http://10.0.0.1:80")
        bad = ("proxy:3128", "socks5://proxy", "http://", "http://a b", "http://a\n", "//proxy", "http:/a")
        yield from words(path, longest=512, good=good, bad=bad, fill="http://" + "a" * 512)
        yield accept(f"{path} without a password", {path: "http://proxy"}, rule=PASSWORD)
        for user in ("user:secret", "user", ":secret", "", "user:a%40b"):
            url = f"http://{user}@proxy:3128"
            yield refuse(f"{path} {url}", {path: url}, path, rule=PASSWORD)
    hosts = ("localhost,.svc,10.0.0.0/8", "*", "a, b", "ä")
    wrong = ("a\n", "a\x00", "\x7f", "\t")
    yield from words(f"{here}.noProxy", longest=4096, good=hosts, bad=wrong, empty=True)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "Https_Proxy", "no_proxy", "NO_PROXY"):
        variable = {"spec.extraEnv.3.name": name}
        yield refuse(f"proxy and {name}", variable, "spec", rule=ONE_PROXY)
        yield accept(f"{name} alone", variable | {here: REMOVED}, rule=ONE_PROXY)
        yield refuse(f"an empty proxy and {name}", variable | {here: {}}, "spec", rule=ONE_PROXY)
    for name in ("ALL_PROXY", "http_proxy_", "my_no_proxy"):
        yield accept(f"proxy and {name}", {"spec.extraEnv.3.name": name}, rule=ONE_PROXY)


def apart() -> Iterator[Case]:
    """Replicas that must not share a node cannot share a volume that one node mounts."""
    constraint = "spec.topologySpreadConstraints.0"
    two: Change = {"spec.replicas": 2, f"{constraint}.topologyKey": "kubernetes.io/hostname"}
    first = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    second = first | {"whenUnsatisfiable": "DoNotSchedule"}
    together: dict[str, Change] = {
        "": {},
        " of unset modes": {"spec.cache.accessModes": REMOVED},
        " by the second constraint": {constraint[:-2]: [first, second]},
        " among three": {"spec.replicas": 3, f"{constraint}.maxSkew": 2},
    }
    for name, change in together.items():
        yield refuse(f"nodes share a volume{name}", {**two, **change}, "spec", rule=TOGETHER)
    apart: dict[str, Change] = {
        "one replica": {"spec.replicas": 1},
        "replicas unset": {"spec.replicas": REMOVED},
        "no replica": {"spec.replicas": 0},
        "another topology": {f"{constraint}.topologyKey": "topology.kubernetes.io/zone"},
        "where it can be": {f"{constraint}.whenUnsatisfiable": "ScheduleAnyway"},
        "two on a node": {f"{constraint}.maxSkew": 2},
        "a shared volume": {"spec.cache.accessModes": ["ReadWriteMany"]},
        "a volume of both modes": {"spec.cache.accessModes": ["ReadWriteOnce", "ReadWriteMany"]},
        "a given claim": {"spec.cache": {"claimName": "weights"}},
    }
    for name, change in apart.items():
        yield accept(f"apart: {name}", {**two, **change}, rule=TOGETHER)


def spreads() -> Iterator[Case]:
    path = "spec.topologySpreadConstraints"
    one = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
    repeated = {path: [one, one | {"topologyKey": "rack"}, one | {"maxSkew": 2}]}
    yield refuse("a spread repeats", repeated, path, covers=[(path, "x-kubernetes-list-type")])
    yield accept("spreads differ", {path: [one, one | {"whenUnsatisfiable": "DoNotSchedule"}]})
    yield from embedded("topologySpreadConstraints")


def access() -> Iterator[Case]:
    """Who may call: of servers alone."""
    key = "spec.apiKeySecretRef"
    yield from things(key)
    yield from optional(key, f"{key}.key")
    yield from required(f"{key}.name")
    yield from object_names(f"{key}.name")
    yield from data_keys(f"{key}.key")
    yield from embedded("networkPolicy")


def placement() -> Iterator[Case]:
    for field in ("priorityClassName", "serviceAccountName"):
        yield from optional(f"spec.{field}")
        yield from object_names(f"spec.{field}")
    for field in ("tolerations", "affinity"):
        yield from embedded(field)
