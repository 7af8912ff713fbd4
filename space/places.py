"""Places for files that are decoded behind the wall: no visitor takes them all."""

import collections
import contextlib
import threading
from collections.abc import Iterator

from aihealth.images import ImageError

AT_ONCE = 4
PER_VISITOR = 2
WAITING = 8
WAITING_IN_ALL = 16  # Each holds one of Gradio's forty threads.

BUSY = "too many images are waiting; send this one again when some are answered"


class Places:
    """Lets some files through at once, and of each visitor fewer; the others wait.

    A file that is made to be slow holds a place for seconds. Whoever sends many of them waits for
    their own.
    """

    def __init__(
        self,
        at_once: int = AT_ONCE,
        per_visitor: int = PER_VISITOR,
        waiting: int = WAITING,
        in_all: int = WAITING_IN_ALL,
    ) -> None:
        """Begin with all places free.

        Args:
            at_once: files of all visitors.
            per_visitor: files of one visitor.
            waiting: files of one visitor that may wait.
            in_all: files of all visitors that may wait.
        """
        self._at_once, self._per_visitor = at_once, per_visitor
        self._most_waiting, self._in_all = waiting, in_all
        self._taken: collections.Counter[str] = collections.Counter()
        self._waiting: collections.Counter[str] = collections.Counter()
        self._change = threading.Condition()

    @contextlib.contextmanager
    def place(self, visitor: str) -> Iterator[None]:
        """Wait for a place and hold it.

        Raises:
            ImageError: as many files are waiting as may.
        """
        with self._change:
            full = self._waiting.total() >= self._in_all
            if full or self._waiting[visitor] >= self._most_waiting:
                raise ImageError(BUSY)
            self._waiting[visitor] += 1
            try:
                self._change.wait_for(lambda: self._is_free(visitor))
            finally:
                self._give(self._waiting, visitor)
            self._taken[visitor] += 1
        try:
            yield
        finally:
            with self._change:
                self._give(self._taken, visitor)
                self._change.notify_all()

    def _is_free(self, visitor: str) -> bool:
        return self._taken.total() < self._at_once and self._taken[visitor] < self._per_visitor

    @staticmethod
    def _give(counter: collections.Counter[str], visitor: str) -> None:
        counter[visitor] -= 1
        if not counter[visitor]:  # Visitors who left are not kept in mind.
            del counter[visitor]
