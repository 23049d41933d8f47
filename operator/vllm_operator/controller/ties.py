"""What servers see of quantizations, and these of servers, and who is to look again when that changes."""

from collections.abc import Callable
from dataclasses import replace

from vllm_operator.api.fp8quantization import FP8Quantization
from vllm_operator.api.meta import InvalidObjectError
from vllm_operator.api.observed import Observed, QuantizationState
from vllm_operator.api.quantized import ObservedQuantization, User
from vllm_operator.api.reasons import StalledError
from vllm_operator.controller import outcome
from vllm_operator.controller.store import Key, Store
from vllm_operator.desired import calibration
from vllm_operator.desired.defaults import Defaults
from vllm_operator.status import quantization as status
from vllm_operator.status.view import View

Everything = Observed | ObservedQuantization
"""All that is known of a resource."""

_Shown = tuple[Key | None, User | QuantizationState | None]


class Ties:
    """Knows what has been told of each resource to those that look at it."""

    def __init__(self, store: Store, defaults: Defaults, wake: Callable[[Key], None]) -> None:
        self._store = store
        self._defaults = defaults
        self._wake = wake
        self._shown: dict[Key, _Shown] = {}
        """What each has shown last, and of a server, to which quantization."""

    def observe(self, key: Key) -> Everything | None:
        """All that is known of a resource, with what it sees of the others; None when it is gone or going.

        Raises InvalidObjectError when it breaks the rules of its kind.
        """
        observed = self._store.observe(key)
        named = self._store.named(key)
        if not isinstance(observed, Observed) or named is None:
            return observed
        return replace(observed, quantization=self._state(named))

    def _state(self, quantization: Key) -> QuantizationState | None:
        """What servers see of a quantization, as a function of what is; None when there is none."""
        try:
            observed = self._store.observe(quantization)
        except InvalidObjectError as error:
            return status.blocked(outcome.invalid(error))
        if not isinstance(observed, ObservedQuantization):
            return None
        try:
            target = calibration.aim(observed, self._defaults)
        except StalledError as error:
            return status.blocked(error)
        state, entry = status.state(View(observed, target)), self._store.entry(quantization)
        told = entry.transitions.get("Stalled") if entry is not None else None
        if state.result is None and not state.failure and told is not None and told.status == "True":
            # Events, and what the API server refuses, are known only where they are looked at.
            return replace(state, failure=f"{told.reason}: its own status says why")
        return state

    def tell(self, key: Key) -> None:
        """Wake those who see something else of a resource than before; what is gone shows nothing."""
        if key.kind == FP8Quantization.kind:
            shown: _Shown = (None, self._state(key))
            watchers: tuple[Key | None, ...] = self._store.users(key)
        else:
            named = self._store.named(key)
            shown = (named, self._store.user(key) if named else None)
            before = self._shown.get(key, (None, None))[0]
            watchers = tuple({named, before})
        if self._shown.get(key, (None, None)) == shown:
            return
        if shown == (None, None):
            del self._shown[key]
        else:
            self._shown[key] = shown
        for watcher in watchers:
            if watcher is not None and self._store.entry(watcher) is not None:
                self._wake(watcher)
