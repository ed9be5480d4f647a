"""Training pictures and random QP maps."""

from training.data.pictures import read_picture

__all__ = ["read_picture"]
