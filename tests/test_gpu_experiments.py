"""The GPU experiments, run on the CPU with small sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray
from PIL import Image

from benchmarks.train_step import fits
from codec.errors import BadArgument
from codec.evaluation.judges import JudgeUnavailable
from codec.evaluation.judges.lite0 import load_lite0
from codec.weights import checkpoint
from tests.test_training import CONF
from training.data.memory import MemoryBatches, MemoryData
from training.losses.features import MultiLevel
from training.losses.teachers import Teachers
from training.run import LAST_CHECKPOINT, read_checkpoint
from training.trainer import train
from training.validation import KeptAside

DEIT = "timm:deit_tiny_patch16_224"
TOY = [
    "model=toy",
    "trainer=cpu",
    "trainer.precision=32-true",
    "tower.weights=random",
    f"second_tower.name={DEIT}",
    "second_tower.weights=random",
    "data.weights={photos: 1, text: 0, screens: 0, charts_clean: 0}",
    "data.batch=2",
    "data.size=64",
    "data.side=96",
    "data.tiles=2",
    "data.held_out=0",
    "validation.every=0",
    "checkpoint_minutes=60",
]
ONE_STEP = "piece_minutes=0.000001"


def run(experiment: str, pictures: Path, folder: Path, *overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        fixed = [f"experiment={experiment}", f"data_folder={pictures}", f"run_dir={folder}"]
        train(compose("train", [*fixed, *TOY, *overrides]))
    return read_checkpoint(folder / LAST_CHECKPOINT)


@pytest.mark.slow
def test_pieces_add_up_to_one_run(pictures: Path, tmp_path: Path) -> None:
    """Repeating the command in pieces of one step gives the same weights as one long run."""
    settings = ["steps=3", "stage.compiled=null"]
    whole = run("gpu_base", pictures, tmp_path / "whole", *settings, "piece_minutes=null")
    for step in (1, 2, 3):
        pieces = run("gpu_base", pictures, tmp_path / "pieces", *settings, ONE_STEP)
        assert pieces["global_step"] == step
    for name, values in whole["current_model_state"].items():
        torch.testing.assert_close(pieces["current_model_state"][name], values)


@pytest.mark.slow
def test_two_teachers_and_a_compiler(pictures: Path, tmp_path: Path) -> None:
    """`aot_eager` traces and differentiates like `inductor`, but does not compile for minutes."""
    state = run("gpu_joint", pictures, tmp_path, "steps=2", "stage.compiled=aot_eager")
    assert state["global_step"] == 2
    names = [name for name in state["state_dict"] if name.startswith("networks.")]
    assert "networks.g_a.gain.log_gain" in names
    assert not [name for name in names if "_orig_mod" in name]
    assert all(torch.isfinite(values).all() for values in state["state_dict"].values())


@pytest.mark.slow
def test_an_adapter_in_pieces(pictures: Path, tmp_path: Path) -> None:
    weights = checkpoint.find("default")
    settings = ["steps=2", "model=small", f"start={weights}", "stage.blocks=1", ONE_STEP]
    for step in (1, 2):
        state = run("gpu_adapter", pictures, tmp_path, *settings)
        assert state["global_step"] == step


def test_teachers_are_a_mean() -> None:
    torch.manual_seed(0)
    one, other = (MultiLevel(DEIT, "random", {"embedding": 1.0, 2: 0.5}) for _ in range(2))
    both = Teachers([one, other])
    assert len(both.frozen) == 2
    assert not list(both.parameters())
    x, x_hat = torch.rand(2, 2, 3, 64, 64)
    qp = torch.full((2, 4, 4), 30)
    mean = (one(x, x_hat, qp)[0] + other(x, x_hat, qp)[0]) / 2
    torch.testing.assert_close(both(x, x_hat, qp)[0], mean)
    with pytest.raises(BadArgument):
        Teachers([])


def test_pictures_in_memory(pictures: Path) -> None:
    root = str(pictures / "train")
    weights = {"photos": 3.0, "text": 1.0}
    data = MemoryData(root, weights, batch=3, steps=5, size=64, scale=0.5, side=96, tiles=4)
    tiles, shares = data.load()
    assert tiles.dtype == torch.uint8
    assert tiles.shape == (8, 3, 96, 96)  # one of the files cannot be decoded
    torch.testing.assert_close(shares[:4].sum(), torch.tensor(0.75))
    first = list(data.train_dataloader())
    assert len(first) == 5
    assert first[0].shape == (3, 3, 64, 64)
    assert 0 <= first[0].min() < first[0].max() <= 1
    again = MemoryBatches(tiles, shares, 3, 64, 5, 0)
    again.first = 2
    torch.testing.assert_close(next(iter(again)), first[2])
    again.every = 2
    assert [len(batch) for batch in again] == [3, 0, 3, 0, 3]
    with pytest.raises(ValueError, match=r"data\.side"):
        MemoryData(root, weights, batch=3, steps=5, size=128, scale=0.5, side=96, tiles=1)


@pytest.mark.slow
def test_validation_uses_what_was_kept_aside(
    tmp_path: Path, photo: NDArray[np.uint8], data_folder: Path
) -> None:
    try:
        load_lite0()
    except JudgeUnavailable as error:
        pytest.skip(str(error))
    for number in range(6):
        part = photo[60:156, 20 * number : 20 * number + 96]
        Image.fromarray(part).save(tmp_path / f"{number}.png")
    settings: dict[str, Any] = {"folder": str(tmp_path), "fit_on": str(tmp_path), "every": 1}
    callback = KeptAside(3, str(data_folder), qualities=(10, 45, 90), pictures=1, **settings)
    assert [path.name for path in callback.chosen()] == ["1.png", "4.png"]
    torch.manual_seed(0)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        stage = hydra.utils.instantiate(compose("train", ["experiment=base", "model=toy"]).stage)
    values, _ = callback.measure(stage.networks)
    assert values["val_lite0_q90"] < values["val_lite0_q10"]


def test_what_fits_is_said_in_one_line() -> None:
    said = fits({"mean": 0.05, "settings": ["experiment=gpu_base"], "batch": 32}, 8)
    assert said == "experiment=gpu_base: 9,600 steps, 307,200 crops fit into 8 minutes"
