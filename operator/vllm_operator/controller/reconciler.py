"""Reconciles one resource: a function of what is, never of what changed."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType

from vllm_operator.api.meta import API_VERSION, InvalidObjectError
from vllm_operator.api.observed import POD_MONITOR, Observed
from vllm_operator.api.quantized import ObservedQuantization, QuantizationTarget, Result
from vllm_operator.api.reasons import ORDINARY, Reason, StalledError
from vllm_operator.api.seen import ClaimFacts, Refusal
from vllm_operator.api.status import Condition, FP8QuantizationStatus, VLLMServerStatus
from vllm_operator.controller import events, facts, outcome
from vllm_operator.controller.children import Children
from vllm_operator.controller.cluster import Cluster
from vllm_operator.controller.kinds import KINDS
from vllm_operator.controller.monitors import Monitors
from vllm_operator.controller.outcome import ApiError, WaitingError
from vllm_operator.controller.prober import Prober
from vllm_operator.controller.progress import ProgressReader
from vllm_operator.controller.store import Entry, Key, Store
from vllm_operator.controller.ties import Everything, Ties
from vllm_operator.controller.wanted import Wanted
from vllm_operator.desired import calibration, names
from vllm_operator.desired.canonical import digest
from vllm_operator.status.conditions import Transition, changes
from vllm_operator.status.verified import question
from vllm_operator.status.view import View

OBSERVATION_SECONDS = 2.0
"""Seconds in which the Deployment controller is expected to look at what we wrote. Until then there is
nothing new to say, and a status in between would be written only to be overwritten."""

log = logging.getLogger(__name__)


class Reconciler:
    """Brings resources and their children together, and says in their status how far they are."""

    def __init__(
        self,
        store: Store,
        cluster: Cluster,
        children: Children,
        ties: Ties,
        *,
        monitors: Monitors,
        progress: ProgressReader,
        prober: Prober,
        instance: str,
        calibrated: Callable[[Result], None],
    ) -> None:
        self._store = store
        self._cluster = cluster
        self._children = children
        self._ties = ties
        self._monitors = monitors
        self._progress = progress
        self._prober = prober
        self._instance = instance
        """Name under which Events are posted: that of the pod, or of the host."""
        self._calibrated = calibrated
        """Told of each calibration once, whatever restarts: by whoever writes the record of its result."""

    async def __call__(self, key: Key) -> float | None:
        """Reconcile one resource. Returns after how many seconds to look again, if no event comes before.

        Raises ApiError and what else passes by itself: try again later.
        """
        try:
            return await self._look(key)
        finally:
            self._ties.tell(key)

    async def _look(self, key: Key) -> float | None:
        entry = self._store.entry(key)
        if entry is None or entry.deleting:
            self._children.forget(key)
            self._progress.forget(key)
            self._prober.forget(key)
            self._monitors.note(key, wanted=False)
            return None
        now = datetime.now(UTC)
        try:
            observed = await self._observe(key, entry)
        except InvalidObjectError as error:
            self._prober.forget(key)
            verdict = outcome.verdict(outcome.invalid(error))
            status = KINDS[key.kind].judge_invalid(
                entry.generation, verdict, previous=entry.transitions, now=_text(now)
            )
            await self._write(key, entry, status)
            return None
        if observed is None:
            return None
        again = await self._reconcile(key, entry, observed, now)
        # The answer to a status write may bring an edit that the watch then finds nothing new in.
        return again if entry.generation == observed.resource.generation else 0.0

    async def _reconcile(self, key: Key, entry: Entry, observed: Everything, now: datetime) -> float | None:
        try:
            wanted = await self._children.make(key, observed)
        except (StalledError, WaitingError) as error:
            return await self._block(key, entry, observed, error, now)
        told = wanted.refused.get(POD_MONITOR)
        if told is not None and told.reason is Reason.POD_MONITOR_NOT_INSTALLED:
            self._monitors.doubt()
        if wanted.blocked is not None:
            again = await self._block(key, entry, observed, wanted.blocked, now, refused=wanted.refused)
        else:
            again = await self._judge(key, entry, observed, wanted, now)
        return _soonest(again, wanted.again)

    async def _block(
        self,
        key: Key,
        entry: Entry,
        observed: Everything,
        error: StalledError | WaitingError,
        now: datetime,
        *,
        refused: Mapping[str, Refusal] = MappingProxyType({}),
    ) -> float | None:
        """Say why children could not be made, and of each part that no pod depends on, how it is."""
        self._prober.forget(key)
        seen = self._ties.observe(key)
        if seen is None or not _same(seen, observed):
            return None
        seen = replace(seen, refused={**seen.refused, **refused})
        status = KINDS[key.kind].judge_blocked(
            seen, outcome.verdict(error), previous=self._previous(entry), now=_text(now)
        )
        await self._write(key, entry, status)
        return outcome.recheck_seconds(error)

    async def _judge(
        self, key: Key, entry: Entry, observed: Everything, wanted: Wanted, now: datetime
    ) -> float | None:
        """Take away what nobody needs any more, now that the children are made, and say how they are."""
        kind = KINDS[key.kind]
        if isinstance(observed, ObservedQuantization) and isinstance(wanted.target, QuantizationTarget):
            result = calibration.new_result(observed, wanted.target)
            if result is not None:
                self._calibrated(result)
        seen = self._ties.observe(key)
        # An edit that came meanwhile is not yet made: what the children are like says nothing of it.
        if seen is None or not _same(seen, observed):
            return None
        await self._children.prune(key, seen, wanted, _text(now))
        deployment = seen.deployment if isinstance(seen, Observed) else None
        since = self._children.seconds_since_deployed(key)
        if deployment is not None and not deployment.observed() and since < OBSERVATION_SECONDS:
            return OBSERVATION_SECONDS - since
        seen = replace(seen, refused={**seen.refused, **wanted.refused})
        view = View(seen, wanted.target, _text(now))
        seen, again = await self._ask(key, seen, view, now)
        status = kind.judge(seen, wanted.target, previous=self._previous(entry), now=_text(now))
        await self._write(key, entry, status)
        # What is said of a place that a pod has freed holds until the scheduler has looked at it.
        waits = isinstance(seen, Observed) and seen.freed and any(pod.unschedulable for pod in seen.pods)
        settles = max(0.1, self._store.settles(key)) if waits else None
        return _soonest(again, settles, _seconds_until(kind.due(view), now))

    def _previous(self, entry: Entry) -> Mapping[str, Transition]:
        """What was said before. Where nobody is asked any more, no answer is kept for ever."""
        told = entry.transitions
        return told if self._prober.enabled else {kind: told[kind] for kind in told if kind != "Verified"}

    async def _ask(
        self, key: Key, seen: Everything, view: View, now: datetime
    ) -> tuple[Everything, float | None]:
        """What is seen, with what Events, logs and the server itself say; and when to ask again."""
        said, events_again = await events.look(self._cluster, key.namespace, view.hanging(), now)
        done, progress_again = await self._progress.look(key, view.starting())
        seen = replace(seen, events=said, progress=done)
        if isinstance(seen, Observed):
            entry = self._store.entry(key)
            known = entry is not None and "Verified" in entry.transitions
            seen = replace(seen, answer=self._prober.look(key, question(view), known=known))
        return seen, _soonest(events_again, progress_again)

    async def _observe(self, key: Key, entry: Entry) -> Everything | None:
        """What is known of a resource, and of what is not watched: PodMonitors, and a claim that was given.

        A given claim is read until it is bound.
        """
        observed = self._ties.observe(key)
        if isinstance(observed, Observed):
            wanted = observed.server.spec.monitoring.pod_monitor is not None
            self._monitors.note(key, wanted=wanted)
            observed = self._ties.observe(key)
        if observed is None or observed.resource.spec.cache.claim_name is None:
            return observed
        name = names.claim(observed.resource)
        known = entry.given_claim
        if known is None or known.name != name or known.phase != "Bound":
            live = await self._cluster.get(("PersistentVolumeClaim", name), key.namespace)
            claim = facts.child("PersistentVolumeClaim", live) if live else None
            entry.given_claim = claim if isinstance(claim, ClaimFacts) else None
        return self._ties.observe(key)

    async def _write(self, key: Key, entry: Entry, status: VLLMServerStatus | FP8QuantizationStatus) -> None:
        """Write a status if it says anything new, and tell of what changed by Events."""
        body = status.model_dump(by_alias=True, exclude_none=True)
        if digest({"status": body}) == entry.status_digest:
            return
        told = changes(entry.transitions, status.conditions or [])
        metadata = {"name": key.name, "namespace": key.namespace, "uid": entry.uid}
        manifest = {"apiVersion": API_VERSION, "kind": key.kind, "metadata": metadata, "status": body}
        try:
            self._store.see(key.kind, await self._cluster.apply_status(manifest))
        except ApiError as error:
            if error.status == 404:
                # Deleted meanwhile. The answer to an earlier write may have come after the word of that.
                self._store.gone(key.kind, manifest)
                return
            if outcome.unfit(error):
                # Helm installs CRDs, and never changes them.
                log.error("the CRDs are older than this operator: %s", outcome.APPLY_CRDS)
            raise
        for condition in told:
            log.info(
                "%s/%s: %s=%s %s: %s",
                *(
                    key.namespace,
                    key.name,
                    condition.type,
                    condition.status,
                    condition.reason,
                    condition.message,
                ),
            )
            await self._tell(key, entry.uid, condition)

    async def _tell(self, key: Key, uid: str, condition: Condition) -> None:
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"generateName": f"{key.name}-", "namespace": key.namespace},
            "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "type": "Normal" if condition.reason in ORDINARY else "Warning",
            "reason": condition.reason,
            "action": "Reconcile",
            # At most 1,024 bytes: k8s.io/kubernetes v1.36.3, pkg/apis/core/validation/events.go.
            "note": condition.message.encode()[:1000].decode(errors="ignore"),
            "regarding": {
                "apiVersion": API_VERSION,
                "kind": key.kind,
                "name": key.name,
                "namespace": key.namespace,
                "uid": uid,
            },
            "reportingController": f"{names.FIELD_MANAGER}.dev",
            "reportingInstance": self._instance,
        }
        try:
            await self._cluster.post_event(key.namespace, event)
        except ApiError as error:
            log.warning("%s/%s: Event %s was not taken: %s", key.namespace, key.name, condition.reason, error)


def _seconds_until(time: str | None, now: datetime) -> float | None:
    """Seconds from now, or None if that time has passed."""
    if time is None:
        return None
    seconds = (datetime.fromisoformat(time) - now).total_seconds()
    return seconds if seconds > 0 else None


def _soonest(*seconds: float | None) -> float | None:
    return min((each for each in seconds if each is not None), default=None)


def _text(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _same(one: Everything, two: Everything) -> bool:
    first, second = one.resource, two.resource
    return (first.uid, first.generation) == (second.uid, second.generation)
