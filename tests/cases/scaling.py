"""`autoscaling` and `monitoring`."""

from collections.abc import Iterator

from tests.cases.builders import beside, bounds, optional, quantities, required, things, words
from tests.cases.placement import further_labels
from tests.cases.rules import AVERAGE, FEWEST
from tests.cases.table import REMOVED, Case, accept, refuse


def autoscaling() -> Iterator[Case]:
    here = "spec.autoscaling"
    yield from things(here)
    yield from optional(here)
    yield from required(f"{here}.maxReplicas")
    for part in ("target", "scaleUp", "scaleDown"):
        yield from things(f"{here}.{part}")
        yield from optional(f"{here}.{part}")
        yield accept(f"{here}.{part} empty", {f"{here}.{part}": {}})
    yield from beside({f"{here}.maxReplicas": 1000}, bounds(f"{here}.minReplicas", 1, 1000))
    yield from bounds(f"{here}.maxReplicas", 1, 1000)
    fewest, most = f"{here}.minReplicas", f"{here}.maxReplicas"
    yield accept("as many at least as at most", {fewest: 3, most: 3}, rule=FEWEST)
    yield refuse("more at least than at most", {fewest: 3, most: 2}, here, rule=FEWEST)
    yield accept("one at least unless said", {fewest: REMOVED, most: 1}, rule=FEWEST)
    yield from optional(fewest)
    metric = f"{here}.target.metric"
    yield from optional(metric, f"{here}.target.averageValue")
    good = ("vllm:num_requests_waiting", "vllm_num_requests_waiting", ":", "_", "A9")
    bad = ("9a", "a/b", "a b", "..", ".", "a%", "ä", "a\n", "-", "{{ a }}")
    yield from words(metric, longest=253, good=good, bad=bad)
    value = f"{here}.target.averageValue"
    yield from quantities(value, zero=False)
    yield accept("an average value", {value: "1m"}, rule=AVERAGE)
    for nothing in ("0", 0, "0Gi", "0.0"):
        yield refuse(f"an average value of {nothing!r}", {value: nothing}, f"{here}.target", rule=AVERAGE)
    for part in ("scaleUp", "scaleDown"):
        yield from bounds(f"{here}.{part}.stabilizationWindowSeconds", 0, 3600)
    yield from bounds(f"{here}.scaleDown.periodSeconds", 1, 1800)


def monitoring() -> Iterator[Case]:
    here, monitor = "spec.monitoring", "spec.monitoring.podMonitor"
    for path in (here, monitor):
        yield from things(path)
        yield from optional(path)
        yield accept(f"{path} empty", {path: {}})
    yield from further_labels(f"{monitor}.labels", "release")
    interval = f"{monitor}.interval"
    yield from optional(interval)
    good = ("1s", "30s", "1m", "1h30m", "1m500ms", "15000ms")
    bad = ("30", "0s", "01s", "1.5s", "-1s", "1s1m", "1d", "30 s", "30s\n", "ms", "a")
    yield from words(interval, longest=32, good=good, bad=bad, fill="1" * 31 + "s")
