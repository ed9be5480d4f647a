"""YOLOX-Nano as a judge: how many of its boxes on the original it still detects.

Its architecture and its task differ from those of the towers, and no weights were trained with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.ops import batched_nms, box_iou

from codec.evaluation.distortion import Pixels
from codec.evaluation.judges import Direction, JudgeUnavailable, PerPicture, Sample

WEIGHTS = Path("weights") / "yolox_nano_416.onnx"
# YOLOX-Nano's own input side and grey, and the strides of its three output grids.
SIDE = 416
PADDING = 114
STRIDES = (8, 16, 32)
# Thresholds: a box's confidence, the overlap above which boxes are one (non-maximum suppression),
# and the overlap from which boxes match.
CONFIDENCE = 0.4
NMS_IOU = 0.45
MATCH_IOU = 0.5
Floats = NDArray[np.float32]
# [n, 6]: left, top, right, bottom in the picture's pixels, confidence 0..1, class.
Boxes = NDArray[np.float64]


def letterboxed(pixels: Pixels, side: int = SIDE) -> tuple[Floats, float]:
    """Fit a picture into the network's input, with grey below or to the right.

    Args:
        pixels: uint8 [H, W, 3].
        side: of the input.

    Returns:
        float32 [1, 3, side, side], BGR in 0..255, and the scale of the picture in it.
    """
    scale = side / max(pixels.shape[:2])
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    canvas = np.full((side, side, 3), PADDING, np.float32)
    canvas[: size[1], : size[0]] = np.asarray(
        Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)
    )
    return np.ascontiguousarray(canvas[..., ::-1].transpose(2, 0, 1)[None]), scale


def scores_of(output: Floats) -> NDArray[np.float64]:
    """Scores of all cells and classes: confidence times class score, [cells, 80]."""
    cells = output[0].astype(np.float64)
    return cells[:, 4:5] * cells[:, 5:]


def score_error(reference: NDArray[np.float64], scores: NDArray[np.float64]) -> float:
    """Squared error of the scores over the squared scores of the original."""
    return float(np.square(scores - reference).sum() / np.square(reference).sum())


def boxes_of(output: Floats, scale: float, side: int = SIDE) -> Boxes:
    """Decode the network's output: confident boxes after non-maximum suppression.

    Args:
        output: [1, cells of all grids (3549 at a side of 416), 85]: centre and log size relative to
            the cell, object confidence, 80 class scores.
        scale: of the picture in the input, as `letterboxed` returns it.
        side: of the input.

    Returns:
        Boxes in the picture's pixels.
    """
    grids = []
    strides = []
    for stride in STRIDES:
        rows, columns = np.mgrid[: side // stride, : side // stride]
        grids.append(np.stack([columns.ravel(), rows.ravel()], 1))
        strides.append(np.full((grids[-1].shape[0], 1), stride))
    grid = np.concatenate(grids)
    stride_of = np.concatenate(strides)
    cells = output[0].astype(np.float64)
    centre = (cells[:, :2] + grid) * stride_of
    half = np.exp(cells[:, 2:4]) * stride_of / 2
    scores = scores_of(output)
    classes = scores.argmax(1)
    best = scores.max(1)
    sure = best >= CONFIDENCE
    corners = np.concatenate([centre - half, centre + half], 1)[sure] / scale
    kept = batched_nms(
        *(torch.from_numpy(v) for v in (corners, best[sure], classes[sure])), NMS_IOU
    ).numpy()
    return np.concatenate([corners, best[sure, None], classes[sure, None]], 1)[kept]


def f1(reference: Boxes, boxes: Boxes) -> float:
    """F1 of boxes against others: 2 matches / (number of all boxes).

    Boxes of one class match from an IoU of 0.5; the surest come first, and each matches once.

    Args:
        reference: boxes on the original.
        boxes: boxes on the decoded picture.

    Returns:
        0..1; 1 where there is no box at all.
    """
    if not len(reference) + len(boxes):
        return 1.0
    overlap = box_iou(torch.from_numpy(boxes[:, :4]), torch.from_numpy(reference[:, :4])).numpy()
    overlap[boxes[:, 5][:, None] != reference[:, 5][None]] = 0
    matches = 0
    for row in np.argsort(-boxes[:, 4], kind="stable"):
        if overlap.shape[1] and overlap[row].max() >= MATCH_IOU:
            overlap[:, overlap[row].argmax()] = 0
            matches += 1
    return 2 * matches / (len(reference) + len(boxes))


class YoloxJudge:
    """F1 of its boxes on the decoded picture against its boxes on the original.

    score_error, the relative squared error of its class scores in all cells, is smoother.
    """

    name = "yolox"
    folder = "eval/detection"
    note = (
        f"YOLOX-Nano at {SIDE} pixels, letterboxed: F1 of its boxes (confidence from {CONFIDENCE}) "
        f"against its own on the originals, same class, IoU from {MATCH_IOU}. "
        "No weights were trained with it."
    )

    def __init__(self, data: Path, weights: str | None = None) -> None:
        """Load the detector.

        Args:
            data: COTAM_DATA.
            weights: another YOLOX in ONNX, as its authors export it.

        Raises:
            JudgeUnavailable: onnxruntime or the detector is missing.
        """
        self.data = data
        self.scores: dict[str, Direction] = {"f1": "higher", "score_error": "log"}
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
        # The number of threads of a worker is set through torch.
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
            (self.input,) = self.session.get_inputs()
            self.side = int(self.input.shape[-1])
        except Exception as error:  # ONNX Runtime's own errors have no common base
            raise JudgeUnavailable(
                f"{path} is not a YOLOX in ONNX with one input of a fixed size: {error}"
            ) from None
        self.reference = PerPicture(self.look)

    def pictures(self) -> list[Sample]:
        """Photographs; they need no label."""
        return [Sample(path, None) for path in sorted((self.data / self.folder).glob("*.jpg"))]

    def judge(self, original: Pixels, decoded: Pixels, truth: Any) -> dict[str, float]:
        """{"f1": 0..1, "score_error": 0..} of a decoded picture; truth is not used."""
        boxes, scores = self.reference(original)
        decoded_boxes, decoded_scores = self.look(decoded)
        return {
            "f1": f1(boxes, decoded_boxes),
            "score_error": score_error(scores, decoded_scores),
        }

    def look(self, pixels: Pixels) -> tuple[Boxes, NDArray[np.float64]]:
        """The boxes in a picture [H, W, 3], and the scores of all cells and classes."""
        blob, scale = letterboxed(pixels, self.side)
        output = self.session.run(None, {self.input.name: blob})[0]
        return boxes_of(output, scale, self.side), scores_of(output)

    def boxes(self, pixels: Pixels) -> Boxes:
        """The boxes in a picture [H, W, 3]."""
        return self.look(pixels)[0]
