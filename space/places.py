"""Places for files that are decoded behind the wall: no visitor takes them all."""

import collections
import contextlib
import threading
from collections.abc import Iterator

from aihealth.images import ImageError

AT_ONCE = 4
PER_VISITOR = 2
WAITING = 8

BUSY = "too many of your images are waiting; send the next one when these are answered"


class Places:
    """Lets some files through at once, and of each visitor fewer; the others wait.

    A file that is made to be slow holds a place for seconds. Whoever sends many of them waits for
    their own.
    """

    def __init__(
        self, at_once: int = AT_ONCE, per_visitor: int = PER_VISITOR, waiting: int = WAITING
    ) -> None:
        """Begin with all places free.

        Args:
            at_once: files of all visitors.
            per_visitor: files of one visitor.
            waiting: files of one visitor that may wait.
        """
        self._at_once, self._per_visitor, self._most_waiting = at_once, per_visitor, waiting
        self._taken: collections.Counter[str] = collections.Counter()
        self._waiting: collections.Counter[str] = collections.Counter()
        self._change = threading.Condition()

    @contextlib.contextmanager
    def place(self, visitor: str) -> Iterator[None]:
        """Wait for a place and hold it.

        Raises:
            ImageError: as many files of this visitor are waiting as may.
        """
        with self._change:
            if self._waiting[visitor] >= self._most_waiting:
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
