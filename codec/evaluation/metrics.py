"""What is measured of a decoded picture: psnr, ms-ssim, tokens, top1, ocr, boxes, vqa. A judge serves one or several metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from codec.errors import BadArgument
from codec.evaluation.judges import Direction, Judge, JudgeUnavailable, build_judge
from codec.evaluation.rivals import Pixels, psnr

MS_SSIM_LEAST = 161  # four halvings of a window of 11


@dataclass(frozen=True)
class Settings:
    """What judges are built from. data: COTAM_DATA; tower: another one than DeiT-Tiny for `tokens`, its weights beside it."""

    data: Path
    tower: str | None = None
    tower_weights: str | None = None
    detector: str | None = None
    vqa_model: str | None = None
    questions: str | None = None


@dataclass(frozen=True)
class Metric:
    """title: for people; judge and score: where its value comes from, '' for pixels; needs_truth: no value without."""

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
            "top1", "DeiT-Tiny: top-1, or its own class of the original", "higher", "deit", "top1"
        ),
        Metric("ocr", "word recall by Tesseract", "higher", "ocr", "recall"),
        Metric(
            "boxes",
            "F1 of the detector's boxes against those of the original",
            "higher",
            "yolox",
            "f1",
        ),
        Metric("vqa", "right answers to questions", "higher", "vqa", "accuracy", needs_truth=True),
    )
}


def metrics_of(text: str) -> tuple[Metric, ...]:
    """The metrics in a list with commas. Raises BadArgument for an unknown one."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names or (wrong := [name for name in names if name not in METRICS]):
        raise BadArgument(
            f"metrics are {', '.join(METRICS)}" + (f", not '{wrong[0]}'" if names else "")
        )
    return tuple(METRICS[name] for name in names)


def ms_ssim(a: Pixels, b: Pixels) -> float | None:
    """MS-SSIM, 0..1, of two pictures [H, W, 3]; None where a side is shorter than 161 pixels."""
    from pytorch_msssim import ms_ssim as measure

    if min(a.shape[:2]) < MS_SSIM_LEAST:
        return None
    x, y = (torch.from_numpy(np.array(v)).permute(2, 0, 1)[None].float() for v in (a, b))
    return float(measure(x, y, data_range=255))


@lru_cache(maxsize=8)
def judge_of(name: str, settings: Settings) -> Judge:
    """Raises JudgeUnavailable."""
    options: dict[str, dict[str, str | None]] = {
        "tokens": {"tower": settings.tower, "weights": settings.tower_weights},
        "yolox": {"weights": settings.detector},
        "vqa": {"model": settings.vqa_model, "questions": settings.questions},
    }
    return build_judge(name, settings.data, **options.get(name, {}))


def judge_name(metric: Metric, settings: Settings) -> str:
    """'' for pixels. DeiT-Tiny gives its tokens while it classifies; another tower is a judge of its own."""
    return "deit" if metric.name == "tokens" and not settings.tower else metric.judge


PIXELS: dict[str, Callable[[Pixels, Pixels], float | None]] = {"psnr": psnr, "ms-ssim": ms_ssim}


def scores(
    wanted: tuple[Metric, ...],
    original: Pixels,
    decoded: Pixels,
    truths: dict[str, object],
    settings: Settings,
) -> dict[str, float | None]:
    """metric -> its value; truths: judge -> what it knows of the picture. A judge looks once for all of its metrics."""
    found: dict[str, float | None] = {}
    looked: dict[str, dict[str, float]] = {}
    for metric in wanted:
        judge = judge_name(metric, settings)
        if not judge:
            found[metric.name] = PIXELS[metric.name](original, decoded)
        elif metric.needs_truth and truths.get(judge) is None:
            found[metric.name] = None
        else:
            if judge not in looked:
                looked[judge] = judge_of(judge, settings).judge(
                    original, decoded, truths.get(judge)
                )
            found[metric.name] = looked[judge][metric.score]
    return found


def usable(
    wanted: tuple[Metric, ...], settings: Settings
) -> tuple[tuple[Metric, ...], dict[str, str]]:
    """(metrics whose judges are here, metric -> why not)."""
    found = []
    missing = {}
    for metric in wanted:
        try:
            if judge := judge_name(metric, settings):
                judge_of(judge, settings)
            found.append(metric)
        except JudgeUnavailable as error:
            missing[metric.name] = str(error)
    if not found:
        raise BadArgument("; ".join(missing.values()))
    return tuple(found), missing
