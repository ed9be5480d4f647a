"""Training of the analysis of a codec that does not change otherwise, with small real parts."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf
from torch import Tensor

import codec
from codec.networks.config import ModelConfig
from codec.weights import checkpoint
from tests.conftest import ROOT
from training.data.qp_maps import QpMaps
from training.export.encoder import export_encoder
from training.stages.encoder import EncoderStage

TOY = ROOT / "tests" / "golden" / "toy-layers.safetensors"
TOWER = "timm:deit_tiny_patch16_224"


def stage_of(blocks: int = 2) -> EncoderStage:
    torch.manual_seed(0)
    adam = partial(torch.optim.Adam, betas=(0.9, 0.99))
    model = ModelConfig(**checkpoint.load(TOY).metadata["config"])
    return EncoderStage(
        model, QpMaps(0.0), adam, TOWER, "random", {1: 1.0}, 1e-3, 1, 10, blocks_a16=blocks
    )


@pytest.fixture
def stage() -> EncoderStage:
    made = stage_of()
    made.start_from(TOY, lambda: torch.empty(0))
    return made


@pytest.fixture
def x(photo: NDArray[np.uint8]) -> Tensor:
    crop = photo[:128, :128]
    return torch.from_numpy(crop.copy()).permute(2, 0, 1)[None].float() / 255


def test_it_starts_as_the_codecs_own_analysis(stage: EncoderStage, x: Tensor) -> None:
    qp = torch.full((1, 8, 8), 20)
    with torch.no_grad():
        torch.testing.assert_close(stage.g_a(x, qp), stage.frozen[0].g_a(x, qp))


def test_only_the_analysis_learns_and_the_objective_falls(stage: EncoderStage, x: Tensor) -> None:
    qp = torch.full((1, 8, 8), 20)
    before = {name: v.clone() for name, v in stage.frozen[0].state_dict().items()}
    optimizer = torch.optim.Adam([p for g in stage.parameter_groups() for p in g["params"]], 1e-4)
    values = []
    for _ in range(6):
        value, parts = stage.objective(x, qp)
        optimizer.zero_grad()
        value.sum().backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert min(values[1:]) < values[0]
    assert set(parts) == {"D_1", "R", "P", "D"}
    for name, tensor in stage.frozen[0].state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_the_step_sizes_learn_faster(stage: EncoderStage) -> None:
    groups = {group["factor"]: group["params"] for group in stage.parameter_groups()}
    assert {p.shape[0] for p in groups[stage.gain_factor]} == {8}
    assert sum(len(params) for params in groups.values()) == len(list(stage.g_a.parameters()))


def test_an_exported_encoder_writes_files_of_the_same_codec(
    stage: EncoderStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: NDArray[np.uint8]
) -> None:
    monkeypatch.setenv("COTAM_WEIGHTS", str(TOY))
    with torch.no_grad():
        stage.g_a.head.bias += 0.3
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    state = {"state_dict": stage.state_dict(), "global_step": 3}
    stage.on_save_checkpoint(state)
    torch.save(state, run / "checkpoints" / "last.ckpt")
    settings = {
        "stage": {"blocks_a16": 2, "levels": {1: 1.0}},
        "tower": {"name": TOWER},
        "data": {"batch": 1, "size": 128, "weights": {"photos": 1.0}, "held_out": 12},
    }
    OmegaConf.save(OmegaConf.create(settings), run / "config.yaml")
    target = tmp_path / "encoder.safetensors"
    exported = export_encoder(run, target, "A toy.", "A toy.")
    toy = checkpoint.load(TOY)
    assert exported.fingerprint == toy.fingerprint
    crop = photo[:100, :90]
    plain, changed = (
        codec.load(path, device="cpu").encode(crop, quality=40, tool="learned")
        for path in (TOY, target)
    )
    assert plain != changed
    decoded = [
        codec.load(path, device="cpu").decode(changed, output="array") for path in (TOY, target)
    ]
    np.testing.assert_array_equal(*decoded)
    assert "encoder" in target.with_suffix(".md").read_text()


def test_a_resumed_run_has_the_codec_that_its_checkpoint_names(
    stage: EncoderStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COTAM_WEIGHTS", str(TOY))
    state: dict[str, object] = {}
    stage.on_save_checkpoint(state)
    resumed = stage_of()
    resumed.on_load_checkpoint(state)
    assert resumed.skip_below == stage.skip_below
    wanted = stage.frozen[0].g_s.state_dict()
    torch.testing.assert_close(resumed.frozen[0].g_s.state_dict(), wanted)
