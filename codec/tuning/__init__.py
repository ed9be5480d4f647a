"""Tunes latents to a vision network, by gradient descent through the decoder and that network."""

from codec.tuning.picture import exchange, gaussian_bits
from codec.tuning.tuner import MOST_STEPS, STEPS, Tuner, load_tuner, obstacle, tuner_of

__all__ = [
    "MOST_STEPS",
    "STEPS",
    "Tuner",
    "exchange",
    "gaussian_bits",
    "load_tuner",
    "obstacle",
    "tuner_of",
]
