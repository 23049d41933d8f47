"""The memory that requests may take on their way to vLLM."""

from llm_microservice.problems import Problem


class Room:
    """So many bytes, for all requests together."""

    def __init__(self, size: int):
        """Nothing is taken yet."""
        self.size, self.left = size, size


class Share:
    """What one request takes of it."""

    def __init__(self, room: Room):
        """Take nothing yet."""
        self._room, self._taken = room, 0

    def take(self, count: int) -> None:
        """Take so many bytes more.

        Raises Problem if there are not so many left.
        """
        if count > self._room.left:
            message = (
                f"the requests on their way to vLLM are larger than {self._room.size} bytes together, "
                "which is the limit (LLM_MICROSERVICE_MAX_BUFFERED_BYTES)"
            )
            raise Problem(429, "TooManyRequestsError", message, retry_after="1")
        self._room.left -= count
        self._taken += count

    def free(self) -> None:
        """Give back all that was taken; a second time there is nothing to give."""
        self._room.left += self._taken
        self._taken = 0
