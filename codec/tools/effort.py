"""What an effort means for the learned tool. The screen tools map the same scale themselves.

::

    0..2   one pass, without a guide that the weights may name: the fastest
    3..5   one pass of the encoder; 5 is the default
    6..9   latents tuned to the shipped feature network, by more and more steps and views
           (codec.tuning)
"""

from __future__ import annotations

from dataclasses import dataclass

from codec.tools.interface import MOST_EFFORT

GUIDED_FROM = 3
# (steps, views a step). With one view, only that part of the picture is decoded, which takes about
# 0.6 of the time (docs/tuning.md).
TUNING = {6: (3, 1), 7: (3, 4), 8: (4, 4), 9: (6, 4)}
# Percent of rate at equal features of EfficientNet-Lite0 against the default, and seconds for
# 768x512 on two cores: both of benchmarks/results/effort.json, which a test compares.
FIGURES = {7: -13, 9: -18}
SECONDS = {5: 0.1, 6: 1.2, 7: 1.9, 8: 2.4, 9: 3.4}


@dataclass(frozen=True)
class LearnedEffort:
    """How the learned tool works at an effort.

    Attributes:
        guided: whether the weights' own guide is used where no other is asked for.
        steps: of tuning to the shipped feature network; 0 for none.
        views: parts of the picture that each step looks at.
    """

    guided: bool = True
    steps: int = 0
    views: int = 0


def learned_effort(effort: int) -> LearnedEffort:
    """How the learned tool works at an effort 0..9."""
    assert 0 <= effort <= MOST_EFFORT
    return LearnedEffort(effort >= GUIDED_FROM, *TUNING.get(effort, (0, 0)))


def effort_help() -> str:
    """The help of `--effort`: time and gain of the levels for photographs."""
    levels = "; ".join(
        f"{effort}: {seconds:g} s" + (f", {FIGURES[effort]:+d} %" if effort in FIGURES else "")
        for effort, seconds in SECONDS.items()
    )
    return (
        "0 is fastest; default 5; from 6 on, photographs are tuned to a small vision network. "
        f"Time for 768x512 on two cores, and bytes for the same features: {levels}."
    )
