"""The bridge: a receiver that decodes no pixels."""

from __future__ import annotations

from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray
from safetensors.torch import save_file

import codec
from benchmarks.receivers import Receivers, errors
from codec.errors import UnknownModel, WrongAdapter
from codec.evaluation.judges.deit import DeitJudge
from codec.networks.adapter import TokenAdapter
from codec.tokens.adapters import load_adapter
from codec.tokens.bridge import bridged, load_bridge, save_bridge
from codec.towers import LAST, load_tower
from codec.weights import checkpoint
from tests.test_training import CONF
from training.export.bridge import export_bridge
from training.losses.features import distance
from training.stages.adapter import adapter_config
from training.trainer import train

TOWER = "timm:deit_tiny_patch16_224"


def tower_file(folder: Path) -> Path:
    """DeiT-Tiny with random weights in a file, so that it can be loaded twice."""
    torch.manual_seed(0)
    tower = load_tower(TOWER, "random")
    save_file(dict(tower.trunk.state_dict()), folder / "tower.safetensors")
    return folder / "tower.safetensors"


@pytest.mark.slow
def test_a_run_ends_in_tokens_without_pixels(
    cotam: codec.Codec,
    pictures: Path,
    tmp_path: Path,
    photo: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = tower_file(tmp_path)
    run = tmp_path / "run"
    overrides = [
        "experiment=bridge",
        f"tower.weights={weights}",
        f"data_folder={pictures}",
        f"run_dir={run}",
        f"start={checkpoint.find('default')}",
        "trainer=cpu",
        "steps=3",
        "stage.warmup=0",
        "stage.inner=32",
        "stage.heads=2",
        "stage.blocks=1",
        "data.batch=1",
        "data.size=64",
        "data.weights={photos: 1}",
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        train(compose("train", overrides))
    place = tmp_path / "bridge.safetensors"
    export_bridge(run, place)
    bridge = load_bridge(place)
    assert bridge.layer == 2
    tower = load_tower(TOWER, str(weights))
    data = cotam.encode(photo, tool="learned", quality=30)

    def no_pixels(*arguments: object) -> None:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr(cotam.learned.pipeline, "reconstruct", no_pixels)
    last = bridged(cotam, data, tower, bridge, LAST)
    assert last.shape == (1, 197, 192)
    assert torch.isfinite(last).all()
    corner = torch.tensor([[0.0, 0.0, 64.0, 64.0]])
    assert not torch.allclose(last, bridged(cotam, data, tower, bridge, LAST, corner))
    with pytest.raises(WrongAdapter):
        bridged(cotam, data, load_tower(TOWER, "random"), bridge, LAST)
    with pytest.raises(UnknownModel):
        load_adapter(place)
    with pytest.raises(UnknownModel):
        load_bridge(checkpoint.find("default"))


@pytest.mark.slow
def test_a_bridge_learns(photo: NDArray[np.uint8]) -> None:
    torch.manual_seed(0)
    overrides = ["experiment=bridge", "tower.weights=random", "stage.inner=64", "stage.blocks=1"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        stage = hydra.utils.instantiate(compose("train", overrides).stage)
    crops = np.stack([photo[:128, :128], photo[100:228, 200:328]])
    x = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    stage.start_from(checkpoint.find("default"), lambda: x)
    stage.maps = lambda x: torch.full((len(x), 8, 8), 30)
    coded = stage.coded(x)
    optimizer = torch.optim.Adam(stage.adapter.parameters(), 3e-3)
    losses = []
    for _ in range(15):
        loss = distance(stage.features.terms_of(stage.tokens(coded)))[0].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0], losses


@pytest.mark.slow
def test_receivers_are_compared(
    cotam: codec.Codec, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = DeitJudge(data_folder)
    tower = judge.tower
    channels = cotam.learned.pipeline.layers[-1].stop
    shape = adapter_config(channels, tower, {"inner": 32, "heads": 2})
    torch.manual_seed(0)
    network = TokenAdapter(shape)
    torch.nn.init.normal_(network.head.weight)
    facts = {"layer": 2, "codec": cotam.fingerprint, "tower": tower.name}
    save_bridge(tmp_path / "bridge", network, facts | {"signature": tower.signature})
    receivers = Receivers(cotam, judge, load_bridge(tmp_path / "bridge"))
    monkeypatch.setattr("benchmarks.receivers.QUALITIES", (50.0,))
    found = {name: one["mean"] for name, one in errors(receivers, 2)["50"].items()}
    assert 0 < found["adapter"] < found["pixels"] < 0.6 < found["bridge"]
