"""Exports the training run of a student: averaged weights, document detector, rate estimate."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import codec
from codec.guidance.files import write
from codec.guidance.student_torch import load_student
from codec.networks.student import Student, StudentConfig
from training.data.pictures import list_pictures, read_picture
from training.device import weights_below
from training.fit.documents import fit_documents
from training.fit.rate_estimate import fit
from training.run import read_run

# Longest side, in pixels, of the pictures that the rate estimate is fitted to.
LONGEST = 640
CARD = """# {name}

{what}

| | |
|---|---|
| parameters | {parameters:.3f} M (float16) |
| configuration | {config} |
| written | {date} |

## How it was trained
- Length: {steps} steps in {minutes} minutes on {device}.
- Data: batches of {batch} crops of {size}x{size} pixels from `train/` of COTAM_DATA, \
folders weighted {weights}. Nothing below `eval/` was used.
- Teacher: `{tower}`.
- Attention: Kullback-Leibler divergence to the mean [CLS] attention of its first {layers} blocks.
- Sensitivity: squared error of the log of {felt}, where J is the derivative of the \
teacher's last tokens by the pixels, estimated by {probes} random projections per step.
- Documents: a logistic regression on the mean features, which separates `text/` of the training \
pictures from the rest. It is correct on {right:.1%} of {asked} pictures that it was not fitted to.
- Rate estimate: fitted to the bits of {fitted} training pictures, each coded with random QP maps \
by `{codec}`. Their median is the cost of a typical picture.

## Limits
{limits}
"""


def pictures_for_rate(root: Path, count: int) -> list[np.ndarray]:
    """Read evenly spaced pictures of the training set.

    Args:
        root: The folder of training pictures.
        count: How many pictures at most.

    Returns:
        [H, W, 3] each, scaled down to at most 640 pixels a side.
    """
    paths = list_pictures(root)
    pictures = []
    for path in paths[:: max(1, len(paths) // count)][:count]:
        pixels = read_picture(path)
        if pixels is not None:
            image = Image.fromarray(pixels)
            image.thumbnail((LONGEST, LONGEST))
            pictures.append(np.asarray(image))
    return pictures


def of_run(run: Path) -> tuple[Student, dict[str, Any]]:
    """The network of a run, and the facts of its training."""
    settings, state, facts = read_run(run)
    sizes = settings.student
    network = Student(StudentConfig(tuple(sizes.widths), tuple(sizes.depths)))
    network.load_state_dict(weights_below(state["state_dict"], "student."))
    stage = settings.stage
    coder = stage.get("errors_of")
    felt = f"|J e|^2 for the coding errors e of `{coder}`" if coder else "diag(J^T J)"
    names = ("tower", "layers", "probes")
    return network, facts | {name: stage[name] for name in names} | {"felt": felt}


def export_student(
    source: Path, root: Path, target: Path, pictures: int, what: str, limits: str
) -> dict[str, Any]:
    """Write a student and its card.

    Args:
        source: A run, or a student's file whose document detector and rate estimate are fitted
            again.
        root: The folder of training pictures.
        target: The file. The card has the same name with the suffix .md.
        pictures: How many pictures the rate estimate is fitted to.
        what: The card's first sentence.
        limits: The card's last section.

    Returns:
        The metadata of the file.
    """
    if source.is_file():
        network, stored = load_student(source)
        facts = {"felt": "diag(J^T J)"} | stored["training"]
    else:
        network, facts = of_run(source)
    right, asked = fit_documents(network, root)
    chosen = pictures_for_rate(root, pictures)
    loaded = codec.load(device="cpu")
    arrays = fit(loaded, chosen)
    arrays |= {f"student.{name}": tensor.numpy() for name, tensor in network.state_dict().items()}
    fitted = {
        "fitted": len(chosen),
        "codec": f"{loaded.backend.checkpoint.name} {loaded.fingerprint}",
        "right": right,
        "asked": asked,
    }
    config = {k: list(v) for k, v in asdict(network.config).items()}
    metadata = {
        "name": target.stem,
        "config": config,
        "date": date.today().isoformat(),
        "training": facts | fitted,
    }
    write(target, arrays, metadata)
    card = CARD.format(
        **metadata["training"],
        name=target.stem,
        what=what,
        limits=limits,
        date=metadata["date"],
        config=", ".join(f"{k} {v}" for k, v in config.items()),
        parameters=sum(p.numel() for p in network.parameters()) / 1e6,
    )
    target.with_suffix(".md").write_text(card)
    return metadata
