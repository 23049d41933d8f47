"""Conditions: which there are, since when, how long their messages are, and of which users are told."""

from hypothesis import given
from hypothesis import strategies as st

from vllm_operator.api.reasons import Reason
from vllm_operator.api.status import Condition
from vllm_operator.status.conditions import (
    MAX_MESSAGE,
    Transition,
    Verdict,
    changes,
    conditions,
    shorten,
)

BEFORE, NOW = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
READY = Verdict(True, Reason.SERVING, "serves")
BUSY = Verdict(False, Reason.WARMING_UP, "loads")
STUCK = Verdict(False, Reason.NOT_OWNED, "not ours", stalled=True)


def made(verdict: Verdict, previous: dict[str, Transition] | None = None) -> dict[str, Condition]:
    found = conditions(verdict, {"Available": verdict}, generation=4, previous=previous or {}, now=NOW)
    return {condition.type: condition for condition in found}


def remembered(found: dict[str, Condition], time: str = BEFORE) -> dict[str, Transition]:
    return {kind: Transition(c.status, c.reason, time) for kind, c in found.items()}


def test_reconciling_and_stalled_are_there_only_while_true() -> None:
    assert list(made(READY)) == ["Ready", "Available"]
    assert list(made(BUSY)) == ["Ready", "Reconciling", "Available"]
    assert list(made(STUCK)) == ["Ready", "Stalled", "Available"]
    assert made(BUSY)["Reconciling"].status == made(STUCK)["Stalled"].status == "True"


def test_the_same_status_keeps_its_time() -> None:
    again = made(BUSY, remembered(made(BUSY)))
    assert {c.last_transition_time for c in again.values()} == {BEFORE}


def test_another_reason_alone_keeps_the_time() -> None:
    other = Verdict(False, Reason.CRASH_LOOPING, "crashed")
    again = made(other, remembered(made(BUSY)))
    assert {c.last_transition_time for c in again.values()} == {BEFORE}
    assert again["Ready"].reason == "CrashLooping"


def test_another_status_takes_the_time() -> None:
    again = made(READY, remembered(made(BUSY)))
    assert {c.last_transition_time for c in again.values()} == {NOW}


def test_a_condition_that_was_not_there_takes_the_time() -> None:
    again = made(STUCK, remembered(made(BUSY)))
    assert again["Stalled"].last_transition_time == NOW
    assert again["Ready"].last_transition_time == BEFORE


def test_users_are_told_of_a_change_once() -> None:
    assert [c.type for c in changes({}, list(made(BUSY).values()))] == ["Ready"]
    assert changes(remembered(made(BUSY)), list(made(BUSY).values())) == []


def test_users_are_told_of_a_new_reason() -> None:
    other = made(Verdict(False, Reason.CRASH_LOOPING, "crashed"))
    told = changes(remembered(made(BUSY)), list(other.values()))
    assert [(c.type, c.reason) for c in told] == [("Ready", "CrashLooping")]


def test_users_are_told_of_a_new_status_with_the_same_reason() -> None:
    before = remembered(made(READY)) | {"Available": Transition("False", "Serving", BEFORE)}
    assert [c.type for c in changes(before, list(made(READY).values()))] == ["Available"]


def test_users_are_not_told_of_a_new_message() -> None:
    other = made(Verdict(False, Reason.WARMING_UP, "loads still"))
    assert changes(remembered(made(BUSY)), list(other.values())) == []


def test_users_are_told_of_each_reason() -> None:
    found = conditions(STUCK, {"Available": READY}, generation=1, previous={}, now=NOW)
    assert [(c.type, c.reason) for c in changes({}, found)] == [
        ("Ready", "NotOwned"),
        ("Available", "Serving"),
    ]


@given(st.text(max_size=3 * MAX_MESSAGE) | st.integers(0, 3).map(lambda n: "\U0001f600" * (MAX_MESSAGE + n)))
def test_a_message_is_kept_or_keeps_both_ends(message: str) -> None:
    short = shorten(message)
    assert len(short) <= MAX_MESSAGE
    if len(message) <= MAX_MESSAGE:
        assert short == message
    else:
        begin, end = short.split(" [...] ")[0], short.split(" [...] ")[-1]
        assert message.startswith(begin)
        assert message.endswith(end)


def test_the_longest_message_is_kept_whole() -> None:
    assert shorten("a" * MAX_MESSAGE) == "a" * MAX_MESSAGE
    assert shorten("b" + "a" * MAX_MESSAGE + "e") == "b" + "a" * 1023 + " [...] " + "a" * 3064 + "e"
    assert made(Verdict(False, Reason.WARMING_UP, "a" * 9999))["Ready"].message == shorten("a" * 9999)
