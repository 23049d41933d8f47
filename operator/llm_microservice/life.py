"""What the whole process knows of itself: whether it is ending, and how much is running."""

import asyncio


class Life:
    """From the start to the end of the process.

    `ending` is set by SIGTERM: nothing new is taken. `over` is set when running answers have had their time.
    """

    def __init__(self) -> None:
        """It has begun."""
        self.ending = asyncio.Event()
        self.over = asyncio.Event()
        self.running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def enter(self) -> None:
        """One more request runs."""
        self.running += 1
        self._idle.clear()

    def leave(self) -> None:
        """One less."""
        self.running -= 1
        if not self.running:
            self._idle.set()

    async def idle(self, seconds: float) -> bool:
        """Wait until nothing runs; False if that takes longer."""
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            return False
        return True
