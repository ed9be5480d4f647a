"""What was chosen for a file, and why: read from its header, for `-v` and `--json`."""

from __future__ import annotations

from typing import Any

from codec.info import inspect


def choices_of(data: bytes, limit_pixels: int, reason: str | None = None) -> dict[str, Any]:
    """Collect the choices that a .ctm file records.

    Args:
        data: the file.
        limit_pixels: of pictures.
        reason: why the tool was chosen, if the file does not record it.

    Returns:
        tool, reason, quality, QP or range of QPs, weights; None for what the tool does not have.
    """
    info = inspect(data, limit_pixels=limit_pixels)
    qp: int | str | None = info.base_qp
    if info.qp_min != info.qp_max:
        qp = f"{info.qp_min}..{info.qp_max}"
    return {
        "tool": info.tool,
        "reason": reason or info.reason,
        "quality": "lossless" if info.lossless else round(info.quality),
        "QP": qp,
        "weights": info.model or info.fingerprint,
    }
