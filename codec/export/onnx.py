"""The codec's networks as ONNX graphs, for machines without PyTorch.

::

    checkpoint -> frozen networks -> one graph per call of coding.backend.Backend
               -> encoder/ and decoder/, each with *.onnx, tables.npz and manifest.json
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from codec.backends.manifest import FORMAT, TABLES, graph_file
from codec.coding.latent_grid import CELL
from codec.guidance.files import SHIPPED
from codec.guidance.student import CELL as STUDENT_CELL
from codec.networks.byte_stem import ByteStem
from codec.networks.config import PRIOR_STEPS, STRIDE_Y, LatentLayer
from codec.networks.model import Networks
from codec.networks.tensors import as_array, as_batch
from codec.weights.checkpoint import Checkpoint
from codec.weights.networks import from_checkpoint
from codec.weights.shipped import MANIFEST

OPSET = 20  # of ONNX
HALVES = ("encoder", "decoder")


class _Graph(nn.Module):
    """A network as a graph over arrays [rows, columns, channels], as coding.backend.Backend takes.

    Attributes:
        inputs: name -> (an example, its rows per row of the graph's smallest grid).
        outputs: names.
    """

    inputs: dict[str, tuple[Tensor, int]]
    outputs: tuple[str, ...]

    def shapes(self) -> dict[str, dict[int, Any]]:
        """Return, for each input, its dynamic sides as multiples of two common dimensions."""
        h = torch.export.Dim("h", min=1)
        w = torch.export.Dim("w", min=1)
        rows_at = {
            name: 2 if example.ndim == 4 else 0 for name, (example, _) in self.inputs.items()
        }
        return {
            name: {
                rows_at[name]: factor * h if factor > 1 else h,
                rows_at[name] + 1: factor * w if factor > 1 else w,
            }
            for name, (_, factor) in self.inputs.items()
        }


def _bytes(picture: Tensor) -> Tensor:
    return as_array(picture.mul(255).add(0.5).clamp(0, 255)).to(torch.uint8)


class _Analysis(_Graph):
    outputs = ("y",)

    def __init__(self, networks: Networks) -> None:
        super().__init__()
        self.g_a = networks.g_a
        self.stem = ByteStem(networks.g_a.stem)
        self.inputs = {
            "pixels": (torch.zeros(64, 96, 3, dtype=torch.uint8), STRIDE_Y),
            "qp": (torch.zeros(4, 6, dtype=torch.int64), 1),
        }

    def forward(self, pixels: Tensor, qp: Tensor) -> Tensor:
        return as_array(self.g_a.after_stem(self.stem(pixels), qp[None]))


class _HyperAnalysis(_Graph):
    outputs = ("z",)

    def __init__(self, networks: Networks) -> None:
        super().__init__()
        self.h_a = networks.h_a
        self.inputs = {"y": (torch.zeros(8, 12, networks.config.m), CELL)}

    def forward(self, y: Tensor) -> Tensor:
        return as_array(self.h_a(as_batch(y)))


class _Features(_Graph):
    outputs = ("features",)

    def __init__(self, networks: Networks, layer: LatentLayer) -> None:
        super().__init__()
        self.prior = networks.prior
        self.layer = layer
        self.inputs = {
            "z": (torch.zeros(2, 3, networks.config.z), 1),
            "qp": (torch.zeros(8, 12, dtype=torch.int64), CELL),
        }

    def forward(self, z: Tensor, qp: Tensor) -> Tensor:
        return self.prior.features(self.layer, as_batch(z), qp[None])


class _PriorStep(_Graph):
    outputs = ("mean", "index")

    def __init__(self, networks: Networks, layer: LatentLayer, step: int) -> None:
        super().__init__()
        self.prior = networks.prior
        self.layer = layer
        self.step = step
        config = networks.config
        width = config.p if layer == config.layers[-1] else config.p_low
        # The layer of every earlier set, in coding order.
        self.before = [
            earlier for earlier in config.layers[: layer.index] for _ in range(PRIOR_STEPS)
        ] + [layer] * step
        self.inputs = {"features": (torch.zeros(1, width, 4, 6), 1)}
        for number, earlier in enumerate(self.before):
            self.inputs[f"set{number}"] = (torch.zeros(4, 6, earlier.stop - earlier.start), 1)

    def forward(self, features: Tensor, *sets: Tensor) -> tuple[Tensor, Tensor]:
        context = [
            self.prior.as_context(layer, as_batch(values))
            for layer, values in zip(self.before, sets)
        ]
        mean, index = self.prior.step(self.layer, self.step, features, context)
        return as_array(mean), as_array(index).to(torch.uint8)


class _Synthesis(_Graph):
    outputs = ("pixels",)

    def __init__(self, networks: Networks) -> None:
        super().__init__()
        self.g_s = networks.g_s
        self.inputs = {
            "y_hat": (torch.zeros(4, 6, networks.config.m), 1),
            "qp": (torch.zeros(4, 6, dtype=torch.int64), 1),
        }

    def forward(self, y_hat: Tensor, qp: Tensor) -> Tensor:
        return _bytes(self.g_s(as_batch(y_hat), qp[None]))


class _Preview(_Graph):
    outputs = ("pixels",)

    def __init__(self, networks: Networks) -> None:
        super().__init__()
        self.gain = networks.g_s.gain
        self.preview = networks.preview
        self.inputs = {
            "y_hat": (torch.zeros(4, 6, networks.config.low), 1),
            "qp": (torch.zeros(4, 6, dtype=torch.int64), 1),
        }

    def forward(self, y_hat: Tensor, qp: Tensor) -> Tensor:
        return _bytes(self.preview(self.gain(as_batch(y_hat), qp[None])))


class _Student(_Graph):
    outputs = ("attention", "sensitivity", "document")

    def __init__(self) -> None:
        from codec.guidance.student_torch import load_student

        super().__init__()
        self.student = load_student()[0]
        self.inputs = {"pixels": (torch.zeros(64, 96, 3, dtype=torch.uint8), STUDENT_CELL)}

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        attention, sensitivity, document = self.student(as_batch(pixels).float() * (1 / 255))
        return attention[0], sensitivity[0], document[0]


def graphs(networks: Networks, half: str) -> Iterator[tuple[str, _Graph]]:
    """List the graphs of a half.

    Args:
        networks: frozen.
        half: "encoder" or "decoder".

    Yields:
        file: the graph's file name.
        graph: the graph.
    """
    if half == "encoder":
        yield "analysis.onnx", _Analysis(networks)
        yield "hyper_analysis.onnx", _HyperAnalysis(networks)
        yield "student.onnx", _Student()
    for layer in networks.config.layers:
        yield graph_file("features", layer), _Features(networks, layer)
        for step in range(PRIOR_STEPS):
            yield graph_file("step", layer, step), _PriorStep(networks, layer, step)
    if half == "decoder":
        yield "synthesis.onnx", _Synthesis(networks)
        if networks.config.low:
            yield "preview.onnx", _Preview(networks)


def write_graph(graph: _Graph, path: Path) -> None:
    """Write a graph with dynamic sides as one file.

    Args:
        graph: the graph.
        path: the file.
    """
    examples = tuple(example for example, _ in graph.inputs.values())
    sides: Any = tuple(graph.shapes().values())
    if isinstance(graph, _PriorStep) and graph.before:
        sides = (sides[0], sides[1:])  # the last argument is the list of sets
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph.eval(),
            examples,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=sides,
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    program.save(str(path))


def export(
    checkpoint: Checkpoint, folder: Path, int8_pictures: list[Path] | None = None
) -> dict[str, int]:
    """Write folder/encoder and folder/decoder. Each is complete without the other.

    Args:
        checkpoint: the weights.
        folder: where to write; it is made if necessary.
        int8_pictures: if given, the transforms compute in int8, with ranges recorded on these
            pictures (export.int8).

    Returns:
        Half -> its size in bytes.

    Raises:
        CodecError: the weights are not usable, or a picture cannot be read.
    """
    networks = from_checkpoint(checkpoint).to(memory_format=torch.contiguous_format)
    written: dict[str, Path] = {}
    for half in HALVES:
        half_folder = folder / half
        half_folder.mkdir(parents=True, exist_ok=True)
        for name, graph in graphs(networks, half):
            # The prior's graphs are in both halves; they are converted once.
            if name in written:
                shutil.copyfile(written[name], half_folder / name)
            else:
                write_graph(graph, half_folder / name)
                written[name] = half_folder / name
        _write_tables(checkpoint, half_folder)
        if half == "encoder":
            shutil.copyfile(SHIPPED, half_folder / SHIPPED.name)
    # Quantising runs these halves, and a half without a manifest does not load.
    sizes = {half: _write_manifest(checkpoint, half, folder / half, "float32") for half in HALVES}
    if int8_pictures is not None:
        from codec.export.int8 import quantise_halves

        quantise_halves(folder, int8_pictures)
        sizes = {half: _write_manifest(checkpoint, half, folder / half, "int8") for half in HALVES}
    return sizes


def _write_tables(checkpoint: Checkpoint, folder: Path) -> None:
    arrays = {
        name.removeprefix("tables."): array
        for name, array in checkpoint.arrays.items()
        if name.startswith("tables.")
    }
    np.savez(folder / TABLES, **arrays)


def _write_manifest(checkpoint: Checkpoint, half: str, folder: Path, transforms: str) -> int:
    """Write a half's manifest with the hashes of its files; return the files' size in bytes."""
    files = sorted(p for p in folder.iterdir() if p.name != MANIFEST)
    config = checkpoint.metadata["config"]
    manifest = {
        "format": FORMAT,
        "half": half,
        "transforms": transforms,
        "name": checkpoint.name,
        "fingerprint": checkpoint.fingerprint.hex(),
        "skip_below": checkpoint.skip_below,
        "rate_weight": checkpoint.rate_weight,
        "guide": checkpoint.guide,
        "slope": checkpoint.slope,
        "config": {
            "m": config["m"],
            "low": config.get("low", 0),
            "z": config["z"],
            "margins": checkpoint.margins,
        },
        "torch": torch.__version__,
        "opset": OPSET,
        "sha256": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    return sum(p.stat().st_size for p in files)
