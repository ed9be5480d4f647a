"""The stage that trains a codec's encoder alone: its files decode with the weights as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from codec.errors import BadArgument
from codec.weights.checkpoint import load
from codec.weights.networks import from_checkpoint
from training.stages.codec import CodecStage

ENCODER = ("g_a", "h_a")


class EncoderStage(CodecStage):
    """Trains analysis and hyper-analysis; prior, synthesis and preview are frozen as shipped.

    It starts from exported weights (`start=`), whose fingerprint the result serves.

    ::

        crops x -> g_a -> y, h_a -> z --+-> frozen prior -> bits  --+
                                        +-> frozen g_s -> x_hat ----+-> Joint -> loss
    """

    fingerprint = ""

    def start_from(self, place: Path, crops: Callable[[], Tensor]) -> None:
        """Start from exported weights. Raises BadArgument for anything else."""
        if place.suffix != ".safetensors":
            raise BadArgument("an encoder is trained for exported weights: start=NAME.safetensors")
        super().start_from(place, crops)
        checkpoint = load(place)
        shipped = from_checkpoint(checkpoint)
        for part in ("prior", "g_s", "preview"):
            setattr(self.networks, part, getattr(shipped, part))
        for name, parameter in self.networks.named_parameters():
            parameter.requires_grad_(name.split(".")[0] in ENCODER)
        self.rate_model.requires_grad_(False)
        self.fingerprint = checkpoint.fingerprint.hex()
