"""What an effort means for the learned tool. The screen tools map the same scale themselves.

::

    0..2   without the weights' own guide: the fastest
    3..5   one pass of the encoder, guided; 5 is the default
    6..9   latents tuned to the shipped feature network, by more and more steps (codec.tuning)
"""

from __future__ import annotations

from dataclasses import dataclass

from codec.tools.interface import MOST_EFFORT


@dataclass(frozen=True)
class LearnedEffort:
    """How the learned tool works at an effort.

    Attributes:
        guided: whether the weights' own guide is used where no other is asked for.
        steps: of tuning to the shipped feature network; 0 for none.
    """

    guided: bool = True
    steps: int = 0


GUIDED_FROM = 3
TUNING_STEPS = {6: 2, 7: 4, 8: 8, 9: 14}


def learned_effort(effort: int) -> LearnedEffort:
    """How the learned tool works at an effort 0..9."""
    assert 0 <= effort <= MOST_EFFORT
    return LearnedEffort(effort >= GUIDED_FROM, TUNING_STEPS.get(effort, 0))


EFFORT_HELP = "From 0 (fastest) to 9 (smallest files)."
