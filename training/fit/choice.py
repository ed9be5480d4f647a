"""Fits the weights of `codec.tools.choosing.content` on train/: `python -m training.fit.choice`.

::

    pictures of train/, as JPEGs, grey -> features -> logistic regression -> weights
"""

from __future__ import annotations

import argparse
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.evaluation.distortion import Pixels
from codec.evaluation.judges import data_root
from codec.tools.choosing.content import THRESHOLD, choose, score, terms
from codec.tools.choosing.features import features

FOLDERS = {
    "train/photos": False,
    "train/screens": True,
    "train/charts_clean": True,
    "train/text/charts": True,
}
# Qualities of the JPEG versions of each picture.
PHOTO_QUALITIES = (25, 50, 75)
GRAPHICS_QUALITIES = (60, 80)
SUFFIXES = (".png", ".jpg")
STEPS = 3000
RATE = 0.5
DECAY = 1e-3
# The weight of an original picture; each of its JPEGs has the weight 1.
PLAIN_WEIGHT = 3.0
ROOT = Path(__file__).resolve().parents[2]
# Lists the pictures that the AV1 tool codes in fewer bytes than the default weights do.
MEASURED = ROOT / "benchmarks" / "results" / "av1_against_learned.json"

Floats = NDArray[np.float64]


def variants(image: Image.Image, graphics: bool) -> Iterator[Pixels]:
    """The original picture, JPEG versions of it and, for a photograph, a grey version."""
    yield np.asarray(image)
    for quality in GRAPHICS_QUALITIES if graphics else PHOTO_QUALITIES:
        yield as_jpeg(image, quality)
    if not graphics:
        yield as_jpeg(image.convert("L"), PHOTO_QUALITIES[-1])


def as_jpeg(image: Image.Image, quality: int) -> Pixels:
    """The decoded JPEG of a picture, [H, W, 3]."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    with Image.open(stream) as decoded:
        return np.asarray(decoded.convert("RGB"))


def won_by_av1() -> set[str]:
    """Pictures below train/ that the AV1 tool codes in fewer bytes by every measured score."""
    percents = json.loads(MEASURED.read_text())["percent"]
    names = set()
    for name, row in percents.items():
        values = [value for value in row.values() if value is not None]
        if values and max(values) < 0:
            names.add(f"train/{name}")
    return names


def fit(values: Floats, labels: NDArray[np.bool_], counts: Floats) -> tuple[Floats, float]:
    """Logistic regression by gradient descent, on columns of unit variance.

    Args:
        values: [pictures, terms].
        labels: whether each picture is graphics, [pictures].
        counts: the weight of each picture, [pictures].

    Returns:
        (a weight for each term, the bias), for values that are not standardised.
    """
    mean = values.mean(0)
    spread = values.std(0)
    rows = np.c_[(values - mean) / spread, np.ones(len(values))]
    weights = np.zeros(rows.shape[1])
    share = counts / counts.sum()
    for _ in range(STEPS):
        odds = 1 / (1 + np.exp(-rows @ weights))
        # No weight decay for the bias, which only expresses how frequent graphics are.
        decay = DECAY * np.r_[weights[:-1], 0]
        weights -= RATE * (rows.T @ ((odds - labels) * share) + decay)
    # Undoes the standardisation, so that `choose` can use raw values.
    raw = weights[:-1] / spread
    return raw, float(weights[-1] - raw @ mean)


def run(root: Path) -> dict[str, Any]:
    """The fitted weights, and what `choose` finds in each folder with its present weights."""
    values = []
    labels = []
    chosen: dict[str, Counter[str]] = {}
    counts: list[float] = []
    graphics_below = []
    no_examples = won_by_av1()
    for folder, graphics in FOLDERS.items():
        kinds: Counter[str] = Counter()
        for path in sorted(p for p in (root / folder).iterdir() if p.suffix in SUFFIXES):
            with Image.open(path) as image:
                shown = image.convert("RGB")
            vectors = [features(pixels) for pixels in variants(shown, graphics)]
            # A photograph that AV1 codes in fewer bytes at equal token error is not an example
            # for the learned tool.
            if graphics or f"{folder}/{path.name}" not in no_examples:
                values += [list(terms(one).values()) for one in vectors]
                labels += [graphics] * len(vectors)
                counts += [PLAIN_WEIGHT] + [1.0] * (len(vectors) - 1)
            kinds[choose(np.asarray(shown)).kind] += 1
            if graphics and score(vectors[0]) <= THRESHOLD:
                graphics_below.append(f"{folder}/{path.name}")
        chosen[folder] = kinds
    weights, bias = fit(np.array(values), np.array(labels), np.array(counts))
    names = list(terms(vectors[0]))
    return {
        "weights": {name: round(float(weight), 2) for name, weight in zip(names, weights)},
        "bias": round(bias, 2),
        "chosen": {folder: dict(kinds) for folder, kinds in chosen.items()},
        "graphics_below_threshold": graphics_below,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args()
    result = run(data_root())
    if options.json:
        print(json.dumps(result, indent=1))
        return
    for name, value in result.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
