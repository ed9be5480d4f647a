"""YOLOX-Nano as a judge: another architecture, another task, and never a teacher. What it still finds of what it found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.ops import batched_nms, box_iou

from codec.evaluation.judges import Direction, JudgeUnavailable, PerPicture, Sample
from codec.evaluation.rivals import Pixels

WEIGHTS = Path("weights") / "yolox_nano_416.onnx"
SIDE = 416
PADDING = 114
STRIDES = (8, 16, 32)
CONFIDENCE = 0.4
NMS_IOU = 0.45
MATCH_IOU = 0.5
Floats = NDArray[np.float32]


def letterboxed(pixels: Pixels, side: int = SIDE) -> tuple[Floats, float]:
    """([1, 3, side, side] raw BGR, scale): the picture in the upper left corner, grey around it."""
    scale = side / max(pixels.shape[:2])
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    canvas = np.full((side, side, 3), PADDING, np.float32)
    canvas[: size[1], : size[0]] = np.asarray(
        Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)
    )
    return np.ascontiguousarray(canvas[..., ::-1].transpose(2, 0, 1)[None]), scale


def boxes_of(output: Floats, scale: float, side: int = SIDE) -> NDArray[np.float64]:
    """The output [1, 3549 at a side of 416, 85] -> [n, 6]: left, top, right, bottom in the picture's pixels, confidence, class."""
    grids = []
    strides = []
    for stride in STRIDES:
        rows, columns = np.mgrid[: side // stride, : side // stride]
        grids.append(np.stack([columns.ravel(), rows.ravel()], 1))
        strides.append(np.full((grids[-1].shape[0], 1), stride))
    grid = np.concatenate(grids)
    stride_of = np.concatenate(strides)
    rows85 = output[0].astype(np.float64)
    centre = (rows85[:, :2] + grid) * stride_of
    half = np.exp(rows85[:, 2:4]) * stride_of / 2
    scores = rows85[:, 4:5] * rows85[:, 5:]
    classes = scores.argmax(1)
    best = scores.max(1)
    sure = best >= CONFIDENCE
    corners = np.concatenate([centre - half, centre + half], 1)[sure] / scale
    kept = batched_nms(
        *(torch.from_numpy(v) for v in (corners, best[sure], classes[sure])), NMS_IOU
    ).numpy()
    return np.concatenate([corners, best[sure, None], classes[sure, None]], 1)[kept]


def f1(wanted: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """2 matches / (wanted + found), 0..1: boxes of one class match from IoU 0.5 on, the surest first, each once; 1 where both
    are empty."""
    if not len(wanted) + len(found):
        return 1.0
    overlap = box_iou(torch.from_numpy(found[:, :4]), torch.from_numpy(wanted[:, :4])).numpy()
    overlap[found[:, 5][:, None] != wanted[:, 5][None]] = 0
    matches = 0
    for row in np.argsort(-found[:, 4], kind="stable"):
        if overlap.shape[1] and overlap[row].max() >= MATCH_IOU:
            overlap[:, overlap[row].argmax()] = 0
            matches += 1
    return 2 * matches / (len(wanted) + len(found))


class YoloxJudge:
    """F1 of its boxes on the decoded picture against its own on the original."""

    name = "yolox"
    folder = "eval/detection"
    note = (
        f"YOLOX-Nano at {SIDE} pixels, letterboxed: F1 of its boxes (confidence from {CONFIDENCE}) against its own on the "
        f"originals, same class, IoU from {MATCH_IOU}. It never taught."
    )

    def __init__(self, data: Path, weights: str | None = None) -> None:
        """weights: another YOLOX in ONNX, as its authors export it. Raises JudgeUnavailable."""
        self.data = data
        self.scores: dict[str, Direction] = {"f1": "higher"}
        try:
            import onnxruntime
        except ImportError:
            raise JudgeUnavailable(
                "YOLOX cannot judge without onnxruntime: pip install 'cotam[bench]'"
            ) from None
        path = Path(weights) if weights else data / WEIGHTS
        if not path.is_file():
            raise JudgeUnavailable(
                f"the detector is missing: {path if weights else f'{WEIGHTS} below COTAM_DATA'}"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
            (self.given,) = self.session.get_inputs()
            self.side = int(self.given.shape[-1])
        except Exception as error:  # ONNX Runtime's own errors have no common base
            raise JudgeUnavailable(
                f"{path} is no YOLOX in ONNX with one input of a fixed size: {error}"
            ) from None
        self.reference = PerPicture(self.boxes)

    def pictures(self) -> list[Sample]:
        return [Sample(path, None) for path in sorted((self.data / self.folder).glob("*.jpg"))]

    def judge(self, original: Pixels, decoded: Pixels, truth: Any) -> dict[str, float]:
        return {"f1": f1(self.reference(original), self.boxes(decoded))}

    def boxes(self, pixels: Pixels) -> NDArray[np.float64]:
        """[H, W, 3] -> [n, 6], as `boxes_of`."""
        blob, scale = letterboxed(pixels, self.side)
        return boxes_of(self.session.run(None, {self.given.name: blob})[0], scale, self.side)
