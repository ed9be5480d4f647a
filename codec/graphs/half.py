"""Which graphs the calls of a backend need, by file name, and their content from a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from codec.errors import UnknownModel
from codec.graphs import prior, transforms
from codec.graphs.builder import Graph
from codec.graphs.student import student
from codec.guidance.files import SHIPPED, read
from codec.networks.config import PRIOR_STEPS, LatentLayer
from codec.weights.checkpoint import Checkpoint

HALVES = ("encoder", "decoder")
ANALYSIS = "analysis.onnx"
HYPER_ANALYSIS = "hyper_analysis.onnx"
STUDENT = "student.onnx"
SYNTHESIS = "synthesis.onnx"
PREVIEW = "preview.onnx"


def graph_file(kind: str, layer: LatentLayer, step: int | None = None) -> str:
    """Name the graph of a layer's features or of one of its prior steps.

    Args:
        kind: "features" or "step".
        layer: the layer of y.
        step: the prior step 0..3; None for features.

    Returns:
        The file's name.
    """
    if step is None:
        return f"{kind}_{layer.index}.onnx"
    return f"{kind}_{layer.index}_{step}.onnx"


def makers(checkpoint: Checkpoint, compact: bool = False) -> dict[str, Callable[[], bytes]]:
    """The functions that build the graphs of a checkpoint, by file name.

    Args:
        checkpoint: the weights.
        compact: store weights in few bytes, without changing them (graphs.compact).

    Returns:
        File name -> a function that returns the ONNX file; it raises UnknownModel where the
        checkpoint lacks an array.
    """
    arrays = checkpoint.arrays
    config = checkpoint.metadata["config"]

    def of(make: Callable[..., Graph], *more: Any) -> Callable[[], bytes]:
        return lambda: make(arrays, config, *more).bytes(compact)

    made = {
        ANALYSIS: of(transforms.analysis),
        HYPER_ANALYSIS: of(transforms.hyper_analysis),
        SYNTHESIS: of(transforms.synthesis),
        STUDENT: shipped_student,
    }
    if config.get("low"):
        made[PREVIEW] = of(transforms.preview)
    for layer in checkpoint.layers:
        made[graph_file("features", layer)] = of(prior.features, layer)
        for step in range(PRIOR_STEPS):
            made[graph_file("step", layer, step)] = of(prior.step, layer, step)
    return made


def shipped_student() -> bytes:
    """The graph of the shipped guidance student. Raises UnknownModel."""
    arrays, metadata = read(SHIPPED)
    try:
        return student(arrays, metadata["config"]).bytes()
    except KeyError as error:
        raise UnknownModel(f"{SHIPPED} holds no guidance student ({error})") from None


def names_of(checkpoint: Checkpoint, half: str) -> Iterator[str]:
    """The graphs of a half: the encoder lacks synthesis and preview, the decoder the analysis side.

    Args:
        checkpoint: the weights.
        half: "encoder" or "decoder".

    Yields:
        Names of files.
    """
    alone = {
        "encoder": (SYNTHESIS, PREVIEW),
        "decoder": (ANALYSIS, HYPER_ANALYSIS, STUDENT),
    }
    yield from (name for name in makers(checkpoint) if name not in alone[half])
