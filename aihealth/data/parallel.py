"""One function over many files, with a thread per core and flat memory."""

import collections
import concurrent.futures
import os
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(
    function: Callable[[T], R], items: Iterable[T], what: str = "", unit: str = " images"
) -> Iterator[R]:
    """Yield `function(item)` in the order of the items, computed ahead by a thread per core.

    Decoding and LiteRT leave Python's lock, so threads use all cores. At most 16 results per
    thread wait to be taken, so that memory does not grow with the number of items.

    Args:
        function: safe to call from several threads.
        items: what it is called with.
        what: for the progress bar, which is shown on a terminal only; none without it.
        unit: what an item is, for the progress bar.
    """
    from tqdm.auto import tqdm

    threads = os.cpu_count() or 1
    total = len(items) if isinstance(items, Sized) else None
    waiting: collections.deque[concurrent.futures.Future[R]] = collections.deque()
    with (
        concurrent.futures.ThreadPoolExecutor(threads) as pool,
        tqdm(
            total=total,
            desc=what,
            unit=unit,
            disable=None if what else True,
            leave=False,
        ) as bar,
    ):
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= 16 * threads:
                    yield waiting.popleft().result()
                    bar.update()
            while waiting:
                yield waiting.popleft().result()
                bar.update()
        finally:  # An error, or a reader that went away: do not work off what is queued.
            pool.shutdown(wait=False, cancel_futures=True)
