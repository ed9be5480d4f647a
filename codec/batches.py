"""Many pictures at once: one is entropy-coded while the networks work on the next.

::

    items -> two threads, each with a whole item -> results, in the order of the items

Entropy coding, guide and file access keep one core busy, and the networks keep all cores busy, so
two pictures at a time fill each other's gaps. Pictures are not stacked into one array: the layers
are as fast one by one, and the float sums of a stack could differ from those of a single picture,
so the files could differ as well.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
AT_ONCE = 2  # items; each holds a picture's arrays in memory


def overlapped(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Do work on items, AT_ONCE of them at a time.

    Args:
        work: safe to call from several threads.
        items: read as they are needed.

    Yields:
        The results, in the order of the items. An error of `work` is raised in place of its result,
        and no further item is started.
    """
    with ThreadPoolExecutor(AT_ONCE, "cotam-batch") as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                if len(waiting) == AT_ONCE:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(work, item))
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
