"""Turns the options of `cotam encode` that tune a file into a tuner."""

from __future__ import annotations

from typing import Any

from codec.errors import BadArgument

FEATURES = "features"  # what --tune means without a name
Tuning = tuple[str, str | None, int | None]


def tuning(tower: str | None, weights: str | None, steps: int | None) -> Tuning | None:
    """Arguments for `tuner`; None if no tuning is asked for.

    The network is loaded here, so that a missing one is reported once and not for each picture.

    Args:
        tower: the value of `--tune`.
        weights: the value of `--tune-weights`.
        steps: the value of `--tune-steps`.

    Returns:
        The arguments.

    Raises:
        BadArgument: an option needs another one.
        CodecError: the tower cannot be loaded.
    """
    if tower is None:
        if weights is not None or steps is not None:
            raise BadArgument("--tune-weights and --tune-steps need --tune")
        return None
    tuner((tower, weights, steps))
    return tower, weights, steps


def tuner(asked: Tuning, backend: Any = None) -> Any:
    """Load a tuner by (name, weights, steps), on the backend's device. Raises CodecError."""
    try:
        from codec.tuning import load_tuner
    except ImportError as error:
        raise BadArgument(f"tuning needs PyTorch, which is missing ({error})") from None
    name, weights, steps = asked
    return load_tuner(name, weights, steps, str(getattr(backend, "device", "cpu")))
