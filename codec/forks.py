"""A lock that stays usable in a forked child.

A child inherits the locks of its parent, but not the threads that would release them.
"""

from __future__ import annotations

import os
import threading
from types import TracebackType


class Lock:
    """A reentrant lock that is always free in a forked child.

    If a thread holds an ordinary lock while another thread forks, the child has the locked lock but
    not the thread that would release it.
    """

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()
