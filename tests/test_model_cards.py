"""Model cards of the shipped weights, and exports of weights and runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from codec.networks.config import ModelConfig
from codec.networks.model import Networks
from codec.weights import checkpoint
from tests.conftest import ROOT

pytest.importorskip("hydra", reason="cotam[train] is not installed")

from training.export.card import render
from training.fit.checkpoint import make_checkpoint

CARDS = sorted((ROOT / "checkpoints").glob("*.md"))
SHIPPED = [card for card in CARDS if card.with_suffix(".safetensors").exists()]


@pytest.mark.parametrize("card", SHIPPED, ids=lambda card: card.stem)
def test_a_card_is_what_the_code_writes(card: Path) -> None:
    text = card.read_text()
    what = text.split(f"# {card.stem}\n\n")[1].split("\n\n")[0]
    limits = text.split("## Limits\n")[1].removesuffix("\n")
    assert render(checkpoint.load(card.stem), what, limits) == text


def test_equal_networks_are_exported_to_equal_bytes(pictures: Path) -> None:
    torch.manual_seed(0)
    networks = Networks(ModelConfig(name="toy", n=48, c=64, m=32, h=16, z=8, p=16)).eval()
    folder = pictures / "train" / "photos"
    first = make_checkpoint(networks, "toy", folder, 1)
    torch.manual_seed(1)
    assert make_checkpoint(networks, "toy", folder, 1).fingerprint == first.fingerprint
