"""Server-sent events that arrive in pieces."""

DONE = b"[DONE]"


class TooLongError(ValueError):
    """An event has no end."""


class Splitter:
    """Makes whole events, each with its empty line, of the pieces of a stream."""

    LONGEST = 1024**2
    """Bytes of one event. A token with all its log probabilities takes some kB."""

    def __init__(self) -> None:
        """Begin with an empty stream."""
        self._rest = bytearray()

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the events that this piece completes.

        Raises TooLongError.
        """
        # A line may end in CR LF, and a piece between the two.
        if self._rest.endswith(b"\r") and piece.startswith(b"\n"):
            del self._rest[-1]
        # Of what was there only the last byte may belong to an end.
        unseen = max(len(self._rest) - 1, 0)
        self._rest += piece.replace(b"\r\n", b"\n")
        whole = []
        while (end := self._rest.find(b"\n\n", unseen)) >= 0:
            whole.append(bytes(self._rest[: end + 2]))
            del self._rest[: end + 2]
            unseen = 0
        if len(self._rest) > self.LONGEST:
            raise TooLongError(f"an event of more than {self.LONGEST} bytes")
        return whole


def data(event: bytes) -> bytes:
    """What the event says: its lines of `data`, without the word."""
    lines = [line.removeprefix(b"data:") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(line.removeprefix(b" ") for line in lines)
