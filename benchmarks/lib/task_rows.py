"""Rows of the task benchmark: one picture, coded by one system at one quality, one judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from codec import Codec
from codec.evaluation.codecs.cotam import loaded
from codec.evaluation.codecs.interface import CodecUnderTest
from codec.evaluation.codecs.variants import TOKENS, Setup, identity, system_codec
from codec.evaluation.distortion import Pixels
from codec.evaluation.judges import Judge, Sample, load_judge, read_pixels
from codec.evaluation.rows import Key, Row

# Name of the system that uses the original picture files.
ORIGINAL = "original"

_identity = lru_cache(maxsize=64)(identity)
_judge: Callable[[str, Path], Judge] = lru_cache(maxsize=4)(load_judge)
_codec: Callable[[str, Setup], CodecUnderTest] = lru_cache(maxsize=16)(system_codec)


@dataclass(frozen=True)
class Job:
    """A picture and a judge, with the rows to measure.

    Attributes:
        judge: name of the judge.
        sample: the picture.
        todo: (system, quality) pairs that have no row yet.
    """

    judge: str
    sample: Sample
    todo: tuple[tuple[str, float], ...]


class TokenJudge(Protocol):
    """A judge that can also score tokens that an adapter has repaired."""

    def judge_tokens(
        self, original: Pixels, cotam: Codec, data: bytes, truth: object
    ) -> dict[str, float]: ...


def key_of(judge: str, picture: str, system: str, quality: float, setup: Setup) -> Key:
    """The key of a row.

    Args:
        judge: name of the judge.
        picture: name of the picture's file.
        system: a variant with its prefix, a title of a format, or ORIGINAL.
        quality: quality of the system.
        setup: weights and settings.

    Returns:
        (model, student, strength, system, quality, judge, picture).

    Raises:
        UnknownModel: the model or the student that the system needs is missing.
    """
    model, student, strength = ("", "", 0.0) if system == ORIGINAL else _identity(system, setup)
    return model, student, strength, system, float(quality), judge, picture


def measure(job: Job, setup: Setup) -> list[Row]:
    """Measure a job's rows. The picture is read only once, and its original judged only once.

    Args:
        job: the picture, the judge and the missing rows.
        setup: weights and settings.

    Returns:
        Rows with "key", "bpp" (bits per pixel of the whole file) and "scores".
    """
    judge = _judge(job.judge, setup.data)
    original = read_pixels(job.sample.path)
    files = _Files(original, setup)
    # Guides that result in the same file are judged once.
    scores: dict[bytes, dict[str, float]] = {}
    rows = []
    for system, quality in job.todo:
        if system == ORIGINAL:
            size = job.sample.path.stat().st_size
            decoded = original
        else:
            data, decoded = files.coded(system, quality)
            size = len(data)
        if system.startswith(TOKENS):
            content = TOKENS.encode() + data
            if content not in scores:
                scores[content] = _token_scores(judge, original, data, job.sample, setup)
        else:
            content = decoded.tobytes()
            if content not in scores:
                scores[content] = judge.judge(original, decoded, job.sample.truth)
        rows.append(
            {
                "key": list(key_of(job.judge, job.sample.path.name, system, quality, setup)),
                "bpp": size * 24 / original.size,
                "scores": scores[content],
            }
        )
    return rows


class _Files:
    """Files of one picture. Systems that are judged by pixels and by tokens are coded only once."""

    def __init__(self, original: Pixels, setup: Setup) -> None:
        self.original = original
        self.setup = setup
        self.kept: dict[tuple[str, float], tuple[bytes, Pixels]] = {}

    def coded(self, system: str, quality: float) -> tuple[bytes, Pixels]:
        """Return (file, decoded pixels)."""
        key = system.removeprefix(TOKENS), quality
        if key not in self.kept:
            codec = _codec(key[0], self.setup)
            data = codec.encode(self.original, quality)
            self.kept[key] = data, codec.decode(data)
        return self.kept[key]


def _token_scores(
    judge: Judge, original: Pixels, data: bytes, sample: Sample, setup: Setup
) -> dict[str, float]:
    by_tokens: TokenJudge = judge  # type: ignore[assignment]
    return by_tokens.judge_tokens(original, loaded(setup.model), data, sample.truth)
