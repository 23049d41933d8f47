"""Random walks of edits: where a server has been must not be seen in what it is."""

import time
from collections.abc import Callable
from random import Random

from tests.campaign import fields, placement
from tests.campaign.bad import bads
from tests.campaign.base import BASE, CLASS, GIVEN, PRIORITIES, Spec, edited
from tests.campaign.equipment import furnish
from tests.campaign.lanes import put, wait_looked_at
from tests.campaign.masks import children
from tests.campaign.view import NAME
from tests.harness.api import Api, ApiError, Object, condition

ROWS = [
    row
    for row in [*fields.rows(), *placement.rows()]
    if not (row.refused or row.stalled or row.fresh or row.own)
]
BADS = [bad for bad in bads() if not bad.stranger]
SMALL: Spec = {"model": {"name": "org/model"}, "device": "cpu", "cache": BASE["cache"], "prefetch": False}
PREFETCHES = edited(BASE, {"model.offline": False, "prefetch": True})
Child = tuple[str, str, str]
"""Kind, name and uid."""
CLAIM = "PersistentVolumeClaim"
SIZES = ("10Gi", "20Gi", "40Gi")


class Walk:
    """One server that is edited, spoilt and mended at random; the same seed always goes the same way."""

    def __init__(self, api: Api, seed: int, *, prefetch: bool) -> None:
        """Make the first server of a walk: a full one, or a small one, a bad one; or one that prefetches."""
        self.api = api
        self.namespace = furnish(api)
        self.prefetch = prefetch
        self.steps: list[str] = []
        self._random = Random(seed)
        self._size = 0
        self.spec = self._random.choice([PREFETCHES] if prefetch else [BASE, SMALL])
        begin = self._random.choice([self.spec, self.spec | {"extraArgs": ["--no-such-flag"]}])
        self._put("begin", begin)

    def step(self) -> None:
        """Do one thing, and wait for nothing, a moment, or the operator's word."""
        steps: dict[Callable[[], object], int] = {
            self._edit: 8,
            self._two_edits: 4,
            self._spoil: 4,
            self._scale: 2,
            self._pause: 2,
            self._cache: 2,
            self._delete: 3,
        }
        self._random.choices(list(steps), list(steps.values()))[0]()
        time.sleep(self._random.choice([0.0, 0.0, 0.1, 0.5, 2.0]))

    def end(self) -> Object:
        """Come to a spec whose pods can run, and lose a child then. Returns the server."""
        last = dict(self.spec) | {"paused": False}
        if self.prefetch:
            # A model that the walk has never had, so that the end is the end of a prefetch.
            last = edited(last, {"model": PREFETCHES["model"] | {"name": "last/model"}, "prefetch": True})
        for field in ("nodeSelector", "affinity", "topologySpreadConstraints"):
            last.pop(field, None)
            if self._random.random() < 0.7:
                last[field] = BASE[field]
        last["podLabels"] = {"team": "a"}
        last["resources"] = {"requests": {"cpu": self._random.choice(["100m", "0.2"])}}
        last["priorityClassName"] = self._random.choice(PRIORITIES)
        last["replicas"] = self._random.choice([0, 1, 1, 2])
        self._put("end", last)
        wait_ready(self.api, self.namespace)
        self._lose()
        return wait_ready(self.api, self.namespace)

    def _put(self, what: str, spec: Spec) -> bool:
        try:
            written = put(self.api, self.namespace, spec)
        except ApiError as error:
            self.steps.append(f"{what}: refused: {error.message}")
            return False
        self.steps.append(what)
        if self._random.random() < 0.3:
            wait_looked_at(self.api, self.namespace, written)
        return True

    def _edit(self) -> None:
        self._change(1)

    def _two_edits(self) -> None:
        self._change(2)

    def _change(self, count: int) -> None:
        spec, names = self.spec, list[str]()
        while len(names) < count:
            row = self._random.choice(ROWS)
            try:
                spec = edited(spec, row.change)
            except LookupError:
                continue
            names.append(row.name)
        if self._put(" and ".join(names), spec):
            self.spec = spec

    def _spoil(self) -> None:
        """Put a bad spec; the next edit takes it back."""
        bad = self._random.choice(BADS)
        self._put(f"bad: {bad.name}", self.spec | bad.fields)

    def _scale(self) -> None:
        replicas = self._random.randint(0, 3)
        self.steps.append(f"scale to {replicas}")
        self.api.scale("VLLMServer", self.namespace, NAME, replicas)
        self.spec = self.spec | {"replicas": replicas}

    def _pause(self) -> None:
        spec = self.spec | {"paused": not self.spec.get("paused", False)}
        if self._put(f"paused={spec['paused']}", spec):
            self.spec = spec

    def _cache(self) -> None:
        """Another claim, or a larger one: a claim that is kept has a class, and a size, for good."""
        self._size = min(self._size + self._random.randint(0, 1), len(SIZES) - 1)
        made = BASE["cache"] | {"size": SIZES[self._size], "storageClassName": CLASS}
        cache = self._random.choice([made, made, {"claimName": GIVEN}])
        if self._put(f"cache={cache}", self.spec | {"cache": cache}):
            self.spec = self.spec | {"cache": cache}

    def _delete(self) -> Child | None:
        """A third party takes a child away; never the claim, which pods hold.

        Nor a PodMonitor, which comes back after minutes only.
        """
        found = children(self.api, self.namespace).items()
        spared = (CLAIM, "PodMonitor")
        mortal = sorted((*ref, obj["metadata"]["uid"]) for ref, obj in found if ref[0] not in spared)
        if not mortal:
            return None
        kind, name, uid = self._random.choice(mortal)
        self.steps.append(f"delete {kind} {name}")
        self.api.delete(kind, self.namespace, name, propagation="Background", missing_ok=True)
        return kind, name, uid

    def _lose(self) -> None:
        """After the last edit a child is deleted, and nothing but its loss tells that it has to come back."""
        lost = self._delete()
        assert lost is not None
        kind, name, uid = lost
        back = f"{kind} {name} comes back"
        self.api.wait_object(
            kind, self.namespace, name, lambda obj: obj["metadata"]["uid"] != uid, timeout=60, message=back
        )


def wait_ready(api: Api, namespace: str) -> Object:
    """Wait until a server is Ready at its present generation, suspended ones too.

    And until its autoscaler has looked at it, which takes longer than to be suspended.
    """

    def ready(server: Object) -> bool:
        told = condition(server, "Ready")
        if "autoscaling" in server["spec"] and not condition(server, "Autoscaled"):
            return False
        return (told.get("status"), told.get("observedGeneration")) == (
            "True",
            server["metadata"]["generation"],
        )

    return api.wait_object("VLLMServer", namespace, NAME, ready, timeout=120, message="the walk's end")


def fresh(api: Api, spec: Spec) -> str:
    """Make a new server of a spec, wait until it is Ready, and return its namespace."""
    namespace = furnish(api)
    put(api, namespace, spec)
    wait_ready(api, namespace)
    return namespace
