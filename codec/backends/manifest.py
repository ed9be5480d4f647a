"""The manifest of an exported half of a codec (encoder or decoder), and its checks. No torch."""

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
from codec.weights.shipped import MANIFEST

FORMAT = "cotam-export-1"
TABLES = "tables.npz"
# Facts that every manifest must hold; the other attributes of Exported have defaults.
REQUIRED = ("tables", "layers", "margins", "fingerprint", "skip_below", "name", "half")


@dataclass(frozen=True)
class Exported:
    """An exported half, with the attributes of coding.backend.Weights.

    Attributes:
        folder: where its graphs are.
        facts: the content of its manifest.
    """

    folder: Path
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the weights."""
        return str(self.facts["name"])

    @property
    def half(self) -> str:
        """Which half this is: encoder or decoder."""
        return str(self.facts["half"])

    @property
    def skip_below(self) -> int:
        """See Checkpoint.skip_below."""
        return int(self.facts["skip_below"])

    @property
    def rate_weight(self) -> float:
        """See Checkpoint.rate_weight."""
        return float(self.facts.get("rate_weight", RATE_WEIGHT))

    @property
    def guide(self) -> str | None:
        """See Checkpoint.guide."""
        return self.facts.get("guide")

    @property
    def slope(self) -> float:
        """See Checkpoint.slope."""
        return float(self.facts.get("slope", 0.0))

    @property
    def fingerprint(self) -> bytes:
        """See Checkpoint.fingerprint."""
        return bytes.fromhex(self.facts["fingerprint"])

    @property
    def layers(self) -> tuple[LatentLayer, ...]:
        """The layers of y in coding order."""
        return split_layers(self.facts["config"]["low"], self.facts["config"]["m"])

    @property
    def margins(self) -> tuple[int, int]:
        """Margins of analysis and synthesis in latent positions (networks.config.margins)."""
        analysis, synthesis = self.facts["config"]["margins"]
        return int(analysis), int(synthesis)

    @cached_property
    def tables(self) -> Tables:
        """The entropy tables; see Checkpoint.tables."""
        with np.load(self.folder / TABLES, allow_pickle=False) as arrays:
            return Tables(arrays["frequencies"], arrays["lengths"])


def read_manifest(folder: Path) -> Exported:
    """Read an exported half and check every file against its hash.

    Args:
        folder: the half's folder.

    Returns:
        The half.

    Raises:
        UnknownModel: a file is missing or damaged, or the folder holds something else.
    """
    try:
        facts = json.loads((folder / MANIFEST).read_text())
        if facts["format"] != FORMAT:
            raise ValueError(facts["format"])
        for name, digest in facts["sha256"].items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
                raise ValueError(f"{name} is damaged")
        half = Exported(folder, facts)
        for fact in REQUIRED:
            getattr(half, fact)  # raises if the fact is missing or malformed
    except (OSError, KeyError, TypeError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise UnknownModel(f"{folder} holds no usable exported codec: {error}") from None
    return half
