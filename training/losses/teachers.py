"""A feature loss with several teachers, so that a codec does not overfit to one network."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from codec.errors import BadArgument
from training.losses.features import FeatureLoss, Terms


class Teachers(FeatureLoss):
    """The mean of several feature losses, each with its own tower.

    Args:
        teachers: Losses of training.losses.features.

    Raises:
        BadArgument: There are no teachers.
    """

    def __init__(self, teachers: Sequence[FeatureLoss]) -> None:
        if not teachers:
            raise BadArgument("loss.features.teachers must name at least one teacher")
        # Not FeatureLoss.__init__, which would load a tower.
        super(FeatureLoss, self).__init__()
        self.teachers = tuple(teachers)  # in a tuple: not saved, not averaged
        self.frozen = tuple(tower for teacher in teachers for tower in teacher.frozen)

    def terms(self, x: Tensor, x_hat: Tensor, qp: Tensor) -> Terms:
        return {
            f"{name}_{number}": (weight / len(self.teachers), residual)
            for number, teacher in enumerate(self.teachers)
            for name, (weight, residual) in teacher.terms(x, x_hat, qp).items()
        }
