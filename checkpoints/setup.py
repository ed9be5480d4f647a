"""Builds cotam-models: every set of weights but the default, and the adapters of towers.

`pip install ./checkpoints`; codec/weights/shipped.py finds the package where it is installed.
"""

from __future__ import annotations

from setuptools import setup

setup(
    name="cotam-models",
    version="0.1.0",
    description="More weights for CoTAM, the image codec for multimodal LLMs",
    python_requires=">=3.10",
    packages=["cotam_models", "cotam_models.adapters"],
    package_dir={"cotam_models": ".", "cotam_models.adapters": "adapters"},
    package_data={
        "cotam_models": ["tiny.*", "small-mse.*"],
        "cotam_models.adapters": ["*.safetensors", "*.md"],
    },
)
