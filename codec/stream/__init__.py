"""Sequences of pictures: each message holds what changed since a picture that the receiver has."""

from codec.stream.decoder import StreamDecoder
from codec.stream.encoder import StreamEncoder
from codec.stream.frame import Frame

__all__ = ["Frame", "StreamDecoder", "StreamEncoder"]
