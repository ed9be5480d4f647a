"""Which features are installed, and the pip command that adds the others.

Packages are looked up in the metadata of installed ones; nothing is imported.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

from codec.weights import lookup

# The feature that each extra of setup.cfg adds; extras for tests and comparisons are left out.
FEATURES = {
    "torch": "PyTorch: GPUs, bfloat16, tuning (--tune, --effort 6 to 9), tokens",
    "clip": "the guide clip, and tuning to CLIP",
    "mllm": ".ctm files in transformers, tokens from latents",
    "hub": "weights at hf://org/name",
    "openvino": "OpenVINO: faster transforms on Intel's processors",
    "export": "int8 graphs (cotam export --int8)",
    "serve": "the gateway (cotam serve)",
    "ray": "Ray Data",
    "bench": "comparisons (cotam eval)",
    "train": "training, in a clone",
}
# The other weights are a separate package, not an extra (docs/packaging.md).
MODELS = "models"
MORE_WEIGHTS = "tiny"
EXTRA = "pip install 'cotam[{}]'"
_REQUIREMENT = re.compile(r"""([A-Za-z0-9._-]+)[^;]*;.*extra == ['"]([a-z]+)['"]""")


@dataclass(frozen=True)
class Feature:
    """What an extra adds.

    Attributes:
        extra: its name.
        adds: the feature that it adds.
        missing: its packages that are not installed; empty if it is complete.
    """

    extra: str
    adds: str
    missing: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command that installs it."""
        return "pip install cotam-models" if self.extra == MODELS else EXTRA.format(self.extra)


def features() -> list[Feature]:
    """The features, with what each lacks here; none where cotam itself is not installed."""
    try:
        lines = requires("cotam") or []
    except PackageNotFoundError:
        return []
    packages: dict[str, list[str]] = {}
    for line in lines:
        found = _REQUIREMENT.match(line)
        if found:
            packages.setdefault(found[2], []).append(found[1])
    there = MORE_WEIGHTS in lookup.names()
    models = Feature(MODELS, "more weights, token adapters", () if there else ("cotam-models",))
    return [models] + [
        Feature(extra, adds, tuple(name for name in packages[extra] if not installed(name)))
        for extra, adds in FEATURES.items()
        if extra in packages
    ]


def installed(package: str) -> str | None:
    """The version of a package; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
