"""Training of the feature network: views, batches and stage, without mocks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import codec
from codec.errors import BadArgument
from codec.tuning.features import FeatureConfig
from training.data import coded
from training.data.coded_views import CodedViews
from training.data.folder import without_held_out
from training.stages.features import FeatureStage

TOWER = "timm:deit_tiny_patch16_224"


def stage_of(depth: int = 2) -> FeatureStage:
    torch.manual_seed(0)
    adam = partial(torch.optim.Adam, betas=(0.9, 0.99))
    config = FeatureConfig(depth=depth, hidden=32)
    return FeatureStage(config, adam, TOWER, "random", 1e-3, 1, 10)


def test_views_are_the_same_place_of_all_versions() -> None:
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (300, 260, 3), np.uint8)
    for view in coded.views([picture, 255 - picture], random):
        assert view.shape == (2, coded.SIDE, coded.SIDE, 3)
        assert np.abs(view[0].astype(int) + view[1] - 255).max() <= 2


def test_every_twelfth_picture_is_kept_aside() -> None:
    paths = [Path(f"{k:03d}.jpg") for k in range(120)]
    assert without_held_out(paths, 0) == paths
    kept = sorted(set(paths) - set(without_held_out(paths, coded.HELD_OUT)))
    assert set(np.diff([int(path.stem) for path in kept])) == {coded.HELD_OUT}
    assert len(kept) == 10


@pytest.mark.slow
def test_coded_versions_differ_and_the_first_is_the_original(
    cotam: codec.Codec, photo: NDArray[np.uint8]
) -> None:
    versions = coded.coded(cotam, photo, np.random.default_rng(0))
    assert np.array_equal(versions[0], photo[: coded.LONGEST, : coded.LONGEST])
    errors = [np.square(v.astype(float) - versions[0]).mean() for v in versions[1:]]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] > 0


def test_entries_repeat_and_new_shards_take_part(tmp_path: Path) -> None:
    shard = np.random.default_rng(0).integers(0, 256, (3, 4, 8, 8, 3), np.uint8)
    np.save(tmp_path / "0000.npy", shard)
    first, second = (CodedViews(tmp_path, 10, 2, 3, seed=1) for _ in range(2))
    for k in range(10):
        assert torch.equal(first[k], second[k])
        assert first[k].shape == (3, 8, 8, 3)
        assert any(np.array_equal(first[k][0], entry[0]) for entry in shard)
    np.save(tmp_path / "0001.npy", shard)
    assert len(first.shards) == 1
    _ = first[0]
    assert len(first.shards) == 2


def test_a_folder_without_shards_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadArgument, match=r"training\.data\.coded"):
        _ = CodedViews(tmp_path, 1, 1, 3, seed=0)[0]


@pytest.mark.slow
def test_blocks_that_read_the_tower_learn_apart() -> None:
    stage = stage_of()
    pictures = torch.randint(0, 256, (1, 2, 224, 224, 3), dtype=torch.uint8)
    x = pictures.flatten(0, 1).permute(0, 3, 1, 2).float() / 255
    taught = stage.taught(x)
    assert [t.shape for t in taught] == [(2, 197, 192)] * 3
    guesses = [stage.network.embed(x), *(b(t) for b, t in zip(stage.network.blocks, taught))]
    loss, parts = stage.loss(guesses, taught, 2, forced=True)
    assert parts.keys() == {f"{what}{k}" for what in ("token", "change") for k in range(3)}
    part = parts["token2"] + parts["change2"]
    assert float(loss) > float(part)
    perfect, _ = stage.loss(taught, taught, 2, forced=False)
    assert float(perfect) == 0


@pytest.mark.slow
def test_the_loss_falls() -> None:
    stage = stage_of()
    pictures = torch.randint(0, 256, (1, 2, 224, 224, 3), dtype=torch.uint8)
    x = pictures.flatten(0, 1).permute(0, 3, 1, 2).float() / 255
    taught = stage.taught(x)
    optimizer = torch.optim.Adam(stage.network.parameters(), 2e-3)
    losses = []
    for _ in range(8):
        loss, _ = stage.loss(stage.network(x), taught, 2, forced=False)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0]
