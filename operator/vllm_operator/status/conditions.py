"""From one verdict to the conditions that kstatus, Flux, Argo CD and `kubectl wait` read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from vllm_operator.api.reasons import Reason
from vllm_operator.api.status import Condition

MAX_MESSAGE = 4096
"""Characters of a message that are kept; the API's limit is 32,768."""

_STATUS: Mapping[bool | None, Literal["True", "False", "Unknown"]] = {
    True: "True",
    False: "False",
    None: "Unknown",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a server is ready, and why."""

    ready: bool | None
    """None: nobody knows."""
    reason: Reason
    message: str
    stalled: bool = False
    """Nothing will change until somebody edits something."""


@dataclass(frozen=True, slots=True)
class Transition:
    """What the last written status said of one condition."""

    status: str
    reason: str
    time: str
    message: str = ""
    """Kept only where `status.verified` needs it: a message is most of what a status weighs."""


def conditions(
    verdict: Verdict,
    facts: Mapping[str, Verdict | None],
    *,
    generation: int,
    previous: Mapping[str, Transition],
    now: str,
) -> list[Condition]:
    """The conditions of a resource: of its readiness, and of facts by their type (None: not told).

    `now` (RFC 3339, UTC) dates those whose status is new.
    """
    said: list[tuple[str, bool | None, Verdict]] = [("Ready", verdict.ready, verdict)]
    if verdict.stalled:
        said.append(("Stalled", True, verdict))
    elif not verdict.ready:
        said.append(("Reconciling", True, verdict))
    said += [(kind, fact.ready, fact) for kind, fact in facts.items() if fact is not None]
    result = []
    for kind, is_true, why in said:
        status = _STATUS[is_true]
        before = previous.get(kind)
        result.append(
            Condition(
                type=kind,
                status=status,
                observed_generation=generation,
                last_transition_time=before.time if before and before.status == status else now,
                reason=why.reason,
                message=shorten(why.message),
            )
        )
    return result


def shorten(message: str) -> str:
    """Keep the beginning and the end of a long message: the end of a log says most."""
    if len(message) <= MAX_MESSAGE:
        return message
    return f"{message[: MAX_MESSAGE // 4]} [...] {message[-MAX_MESSAGE * 3 // 4 + 7 :]}"


def changes(previous: Mapping[str, Transition], now: list[Condition]) -> list[Condition]:
    """The conditions of which users are told by an Event: those with a new status or reason.

    Conditions that say the same for the same reason (Ready and Reconciling) are told of once.
    """
    told: dict[str, Condition] = {}
    for condition in now:
        before = previous.get(condition.type)
        if before is None or (before.status, before.reason) != (condition.status, condition.reason):
            told.setdefault(condition.reason, condition)
    return list(told.values())
