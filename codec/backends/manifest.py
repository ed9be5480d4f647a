"""What an exported half says of itself, and its checks. No torch here."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from codec.bitstream.rans import Tables
from codec.errors import UnknownModel
from codec.networks.config import RATE_WEIGHT, LatentLayer, split_layers

FORMAT = "cotam-export-1"
MANIFEST = "manifest.json"
TABLES = "tables.npz"


def graph_file(kind: str, layer: LatentLayer, step: int | None = None) -> str:
    """The file of a layer's features, or of one of its steps."""
    return f"{kind}_{layer.index}.onnx" if step is None else f"{kind}_{layer.index}_{step}.onnx"


@dataclass(frozen=True)
class Exported:
    """A half's folder, as far as the pipeline needs it; the same attributes as checkpoint.Checkpoint."""

    folder: Path
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.facts["name"])

    @property
    def half(self) -> str:
        """encoder or decoder."""
        return str(self.facts["half"])

    @property
    def skip_below(self) -> int:
        return int(self.facts["skip_below"])

    @property
    def rate_weight(self) -> float:
        """As of Checkpoint."""
        return float(self.facts.get("rate_weight", RATE_WEIGHT))

    @property
    def guide(self) -> str | None:
        """As of Checkpoint."""
        return self.facts.get("guide")

    @property
    def slope(self) -> float:
        """As of Checkpoint."""
        return float(self.facts.get("slope", 0.0))

    @property
    def fingerprint(self) -> bytes:
        return bytes.fromhex(self.facts["fingerprint"])

    @property
    def layers(self) -> tuple[LatentLayer, ...]:
        return split_layers(self.facts["config"]["low"], self.facts["config"]["m"])

    @property
    def margins(self) -> tuple[int, int]:
        """See networks.config.margins."""
        analysis, synthesis = self.facts["config"]["margins"]
        return int(analysis), int(synthesis)

    @cached_property
    def tables(self) -> Tables:
        with np.load(self.folder / TABLES, allow_pickle=False) as arrays:
            return Tables(arrays["frequencies"], arrays["lengths"])


def read_manifest(folder: Path) -> Exported:
    """An exported half, every file checked against its hash. Raises UnknownModel."""
    try:
        facts = json.loads((folder / MANIFEST).read_text())
        if facts["format"] != FORMAT:
            raise ValueError(facts["format"])
        for name, digest in facts["sha256"].items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
                raise ValueError(f"{name} is damaged")
        found = Exported(folder, facts)
        _ = (
            found.tables,
            found.layers,
            found.margins,
            found.fingerprint,
            found.skip_below,
            found.name,
            found.half,
        )
    except (OSError, KeyError, TypeError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise UnknownModel(f"{folder} holds no exported codec that can be used: {error}") from None
    return found
