"""The metrics of a decoded picture: psnr, ms-ssim, tokens, tiles, top1, ocr, words, boxes, vqa,
mme.

One judge can serve several metrics; it judges a picture once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from codec.errors import BadArgument
from codec.evaluation.distortion import Pixels, ms_ssim, psnr
from codec.evaluation.judges import Direction, Judge, JudgeUnavailable, build_judge


@dataclass(frozen=True)
class Settings:
    """Settings of the judges.

    Attributes:
        data: COTAM_DATA.
        tower: for the metric `tokens`, in place of DeiT-Tiny.
        tower_weights: of `tower`.
        detector: a YOLOX in ONNX, in place of YOLOX-Nano.
        vqa_model: a folder with a model that answers questions.
        questions: a file with questions.
    """

    data: Path
    tower: str | None = None
    tower_weights: str | None = None
    detector: str | None = None
    vqa_model: str | None = None
    questions: str | None = None


@dataclass(frozen=True)
class Metric:
    """One number of a decoded picture.

    Attributes:
        name: as on the command line.
        title: its name in tables and plots.
        direction: how BD-rate reads it (judges.Judge).
        judge: the judge that computes it; empty for metrics of pixels.
        score: which of the judge's scores it is.
        needs_truth: whether pictures without a label have no value.
    """

    name: str
    title: str
    direction: Direction
    judge: str = ""
    score: str = ""
    needs_truth: bool = False


METRICS = {
    metric.name: metric
    for metric in (
        Metric("psnr", "PSNR, dB", "higher"),
        Metric("ms-ssim", "MS-SSIM", "to-one"),
        Metric(
            "tokens", "squared error of the tower's last tokens", "log", "tokens", "token_mse_last"
        ),
        Metric(
            "tiles",
            "squared error of DeiT-Tiny's last tokens on tiles at native size",
            "log",
            "native_tiles",
            "token_error",
        ),
        Metric(
            "top1", "DeiT-Tiny: top-1, or its own class of the original", "higher", "deit", "top1"
        ),
        Metric("ocr", "word recall by Tesseract", "higher", "ocr", "recall"),
        Metric(
            "words", "share of the original's words that are still read", "higher", "words", "words"
        ),
        Metric(
            "boxes",
            "F1 of the detector's boxes against those of the original",
            "higher",
            "yolox",
            "f1",
        ),
        Metric("vqa", "right answers to questions", "higher", "vqa", "accuracy", needs_truth=True),
        Metric("mme", "MME's score", "higher", "vqa", "mme", needs_truth=True),
    )
}
PIXELS: dict[str, Callable[[Pixels, Pixels], float | None]] = {"psnr": psnr, "ms-ssim": ms_ssim}


def metrics_of(text: str) -> tuple[Metric, ...]:
    """Read a list of metrics.

    Args:
        text: names with commas.

    Returns:
        Each metric once.

    Raises:
        BadArgument: the list is empty, or a name is unknown.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in METRICS]
    if not names or unknown:
        reason = f", not '{unknown[0]}'" if unknown else ""
        raise BadArgument(f"metrics are {', '.join(METRICS)}{reason}")
    return tuple(METRICS[name] for name in names)


@lru_cache(maxsize=8)
def judge_of(name: str, settings: Settings) -> Judge:
    """The judge of this name, kept for the next picture.

    Args:
        name: of judges.JUDGES.
        settings: of the judges.

    Returns:
        The judge.

    Raises:
        JudgeUnavailable: something that it needs is missing.
    """
    options: dict[str, dict[str, str | None]] = {
        "tokens": {"tower": settings.tower, "weights": settings.tower_weights},
        "yolox": {"weights": settings.detector},
        "vqa": {"model": settings.vqa_model, "questions": settings.questions},
    }
    return build_judge(name, settings.data, **options.get(name, {}))


def judge_name(metric: Metric, settings: Settings) -> str:
    """The judge of a metric; empty for metrics of pixels.

    The judge `deit` returns classes and tokens of one pass; another tower is a separate judge.
    """
    return "deit" if metric.name == "tokens" and not settings.tower else metric.judge


def scores(
    metrics: tuple[Metric, ...],
    original: Pixels,
    decoded: Pixels,
    truths: dict[str, object],
    settings: Settings,
) -> dict[str, float | None]:
    """Measure a decoded picture.

    Args:
        metrics: what is measured.
        original: uint8 [H, W, 3].
        decoded: uint8 [H, W, 3].
        truths: judge -> its label of the picture.
        settings: of the judges.

    Returns:
        Name of a metric -> its value; None where the picture has none.
    """
    values: dict[str, float | None] = {}
    by_judge: dict[str, dict[str, float]] = {}
    for metric in metrics:
        judge = judge_name(metric, settings)
        truth = truths.get(judge)
        if not judge:
            values[metric.name] = PIXELS[metric.name](original, decoded)
        elif metric.needs_truth and truth is None:
            values[metric.name] = None
        else:
            if judge not in by_judge:
                by_judge[judge] = judge_of(judge, settings).judge(original, decoded, truth)
            values[metric.name] = by_judge[judge][metric.score]
    return values


def usable(
    metrics: tuple[Metric, ...], settings: Settings
) -> tuple[tuple[Metric, ...], dict[str, str]]:
    """Find out which metrics can be measured here.

    Args:
        metrics: those that were asked for.
        settings: of the judges.

    Returns:
        The metrics whose judges are here, and name of a metric -> why it is left out.

    Raises:
        BadArgument: none can be measured.
    """
    here = []
    missing = {}
    for metric in metrics:
        try:
            if judge := judge_name(metric, settings):
                judge_of(judge, settings)
            here.append(metric)
        except JudgeUnavailable as error:
            missing[metric.name] = str(error)
    if not here:
        raise BadArgument("; ".join(missing.values()))
    return tuple(here), missing
