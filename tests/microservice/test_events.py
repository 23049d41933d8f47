"""Events come whole out of pieces, however they were cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_microservice.events import Splitter, TooLongError, data

LINES = st.lists(
    st.sampled_from([b"data: a", b"data:b", b": note", b"event: x", b"data: \xc3\xa9"]), min_size=1
)


@given(st.lists(LINES), st.sampled_from([b"\n", b"\r\n"]), st.lists(st.integers(1, 200)))
def test_any_cut_gives_the_same_events(events: list[list[bytes]], end: bytes, cuts: list[int]) -> None:
    text = b"".join(end.join([*lines, b""]) + end for lines in events)
    places = sorted({0, *(cut for cut in cuts if cut < len(text)), len(text)})
    splitter = Splitter()
    got = [each for a, b in pairwise(places) for each in splitter.feed(text[a:b])]
    assert got == [b"\n".join([*lines, b"", b""]) for lines in events]


def test_half_an_event_is_none() -> None:
    splitter = Splitter()
    assert splitter.feed(b"data: a\n\ndata: ") == [b"data: a\n\n"]
    assert splitter.feed(b"b\n") == []
    assert splitter.feed(b"\n") == [b"data: b\n\n"]


def test_a_large_event_in_small_pieces() -> None:
    """Nothing is looked at or copied for each piece again: this would take many minutes."""
    splitter, event = Splitter(), b"data: " + b"x" * (Splitter.LONGEST - 10)
    for at in range(len(event)):
        assert splitter.feed(event[at : at + 1]) == []
    assert splitter.feed(b"\n\n") == [event + b"\n\n"]


def test_an_event_without_an_end() -> None:
    splitter = Splitter()
    assert splitter.feed(b"x" * Splitter.LONGEST) == []
    with pytest.raises(TooLongError):
        splitter.feed(b"x")


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (b"data: a\n\n", b"a"),
        (b"data:a\n\n", b"a"),
        (b"event: x\ndata: a\ndata:  b\n\n", b"a\n b"),
        (b": a note\n\n", b""),
    ],
)
def test_what_an_event_says(event: bytes, said: bytes) -> None:
    assert data(event) == said
