"""Makes our networks compute the same whatever the host program has set in PyTorch.

::

    the host's autocast, default device, TF32 or bfloat16 shortcuts
        -> exact_arithmetic() -> our networks, in the precision that they were written for
    a fork of the host, without PyTorch's worker threads -> one thread
    the host's default dtype, default device, random numbers
        -> unfilled(make) -> a network in float32 on the CPU, ready to be loaded

Autocast and the default device belong to a thread, so setting them aside affects no other thread.
The default dtype belongs to the process: it is never changed here, and networks state their own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from codec import forks

Network = TypeVar("Network", bound=nn.Module)
AUTOCAST_DEVICES = ("cpu", "cuda")
FULL_PRECISION = "ieee"
CPU = torch.device("cpu")


def _switches() -> tuple[Any, ...]:
    """PyTorch's settings for the precision of float32 computations."""
    backends: Any = torch.backends
    return (
        backends.mkldnn.conv,
        backends.mkldnn.matmul,
        backends.cudnn.conv,
        backends.cuda.matmul,
    )


class _ExactArithmetic:
    """A context in which float32 means float32: no TF32, no bfloat16 shortcuts, no autocast.

    The precision switches belong to the process, so the threads inside are counted, and the last
    one to leave restores them. In a forked process PyTorch is limited to one thread.
    """

    def __init__(self) -> None:
        self._lock = forks.Lock()
        self._inside = 0
        self._before: list[tuple[Any, str]] = []

    @contextmanager
    def __call__(self) -> Iterator[None]:
        if _forked and torch.get_num_threads() > 1:
            torch.set_num_threads(1)
        self._enter()
        try:
            with ExitStack() as stack:
                for device in AUTOCAST_DEVICES:
                    stack.enter_context(torch.autocast(device, enabled=False))
                if torch.get_default_device() != CPU:
                    stack.enter_context(CPU)
                yield
        finally:
            self._leave()

    def _enter(self) -> None:
        with self._lock:
            if not self._inside:
                # Only the first thread sees the host's values; later ones would save ours.
                self._before = [(switch, switch.fp32_precision) for switch in _switches()]
                for switch, value in self._before:
                    if value != FULL_PRECISION:
                        switch.fp32_precision = FULL_PRECISION
            self._inside += 1

    def _leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                for switch, value in self._before:
                    if switch.fp32_precision != value:
                        switch.fp32_precision = value

    def leave_all(self) -> None:
        """Reset the count in a forked child, which has none of the threads that were inside."""
        self._inside = min(self._inside, 1)
        if self._inside:
            self._leave()


exact_arithmetic = _ExactArithmetic()
_forked = False


def _in_child() -> None:
    """Prepare a forked child, which lacks PyTorch's worker threads: their work would never end."""
    global _forked
    _forked = True
    exact_arithmetic.leave_all()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


class _NoRandomNumbers(TorchFunctionMode):
    """A mode in which networks leave tensors as they are instead of drawing random numbers."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        initialises = getattr(func, "__module__", None) == nn.init.__name__
        if initialises or func in (torch.Tensor.normal_, torch.Tensor.uniform_):
            return args[0] if args else kwargs["tensor"]
        if func is torch.randn:
            func = torch.empty
        return func(*args, **(kwargs or {}))


def unfilled(make: Callable[[], Network]) -> Network:
    """A network in float32 on the CPU whose parameters and buffers are yet to be loaded.

    No random number is drawn: loading a codec during a training run does not change that run.
    The meta device would do that as well, but there PyTorch imports torch._dynamo, which takes
    150 MB.

    Args:
        make: makes the network; all its values must be loaded afterwards.

    Returns:
        The network, all its values zero.
    """
    with CPU, _NoRandomNumbers():
        network = make()
    # The host's default dtype may be another one.
    network = network.to(torch.float32)
    with torch.no_grad():
        for values in (*network.parameters(), *network.buffers()):
            values.zero_()
    return network
