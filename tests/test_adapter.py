"""The token adapter on real towers with random weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray
from torch import Tensor

from codec.errors import BadArgument, UnknownModel
from codec.networks.adapter import AdapterConfig, TokenAdapter, sample
from codec.tokens.adapters import load_adapter, save_adapter
from codec.towers import LAST, load_tower
from codec.weights import checkpoint
from tests.test_training import CONF
from training.losses.features import distance
from training.stages.adapter import AdapterStage


@pytest.fixture
def x(photo: NDArray[np.uint8]) -> Tensor:
    return (
        torch.from_numpy(np.stack([photo[:256, :256], photo[40:296, 190:446]]))
        .permute(0, 3, 1, 2)
        .float()
        / 255
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["timm:deit_tiny_patch16_224", "ViT-B-32", "ViT-B-16-SigLIP"])
def test_a_tower_goes_on_from_its_own_embedding(name: str, x: Tensor) -> None:
    tower = load_tower(name, "random")
    seen = tower.prepare(x)
    layers = [0, 2, LAST]
    with torch.no_grad():
        wanted = tower.tokens(seen, layers)
        found = tower.continued(wanted[0], layers)
        for k in layers:
            torch.testing.assert_close(found[k], wanted[k])
        moved = tower.continued(wanted[0] + 0.1 * torch.randn_like(wanted[0]), [2])[2]
    assert not torch.allclose(moved, wanted[2], atol=1e-3)
    torch.testing.assert_close(tower.tokens(seen, [2])[2], wanted[2])  # no hook is left
    some = wanted[0][:, : tower.prefix + 9]
    assert tower.continued(some, [LAST])[LAST].shape == some.shape
    for wrong in (wanted[0][..., 1:], wanted[0][:, : tower.prefix], wanted[0][0]):
        with pytest.raises(BadArgument):
            tower.continued(wrong, [2])
    if name.startswith("timm"):
        with torch.no_grad():
            torch.testing.assert_close(tower.classify_tokens(wanted[0]), tower.classify(seen))
            torch.testing.assert_close(
                tower.classify_tokens(wanted[2], after=2), tower.classify(seen)
            )
        with pytest.raises(BadArgument):
            tower.classify_tokens(wanted[0], after=12)


@pytest.mark.parametrize(("blocks", "sees"), [(1, False), (2, True)])
def test_an_adapter_starts_at_zero_and_takes_any_grid(blocks: int, sees: bool) -> None:
    config = AdapterConfig(
        channels=8,
        width=48,
        rows=14,
        columns=14,
        prefix=1,
        inner=24,
        heads=3,
        blocks=blocks,
        sees=sees,
    )
    adapter = TokenAdapter(config)
    latents, qp = torch.randn(2, 8, 10, 17), torch.full((2, 1, 1), 30)
    for grid in (None, (14, 14), (24, 24), (7, 31)):
        rows, columns = grid or (14, 14)
        embedded = torch.randn(2, 1 + rows * columns, 48)
        out = adapter(sample(latents, qp, (rows, columns)), embedded)
        assert out.shape == embedded.shape
        assert not out.any()
    torch.nn.init.normal_(adapter.head.weight)
    embedded = torch.randn(2, 197, 48)
    seen = sample(latents, qp, (14, 14))
    before = adapter(seen, embedded)
    assert not torch.allclose(
        before, adapter(sample(latents, torch.full((2, 1, 1), 50), (14, 14)), embedded)
    )
    assert not torch.allclose(before, adapter(sample(latents.flip(3), qp, (14, 14)), embedded))
    assert torch.allclose(before, adapter(seen, embedded.flip(2))) is not sees
    assert before[:, 0].any()
    alone = TokenAdapter(replace(config, patches_only=True))
    alone.load_state_dict(adapter.state_dict())
    torch.testing.assert_close(alone(seen, embedded)[:, 1:], before[:, 1:])
    assert not alone(seen, embedded)[:, 0].any()
    with pytest.raises(ValueError, match="block"):
        AdapterConfig(8, 48, 14, 14, 1, blocks=0)


@pytest.mark.slow
def test_the_stage_repairs_tokens_and_touches_nothing_else(x: Tensor) -> None:
    torch.manual_seed(0)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", ["experiment=adapter", "tower.weights=random"])
    stage = hydra.utils.instantiate(config.stage)
    stored = checkpoint.load()
    stage.start_from(checkpoint.find("default"), lambda: x)
    assert stage.fingerprint == stored.fingerprint.hex()
    assert {name.split(".")[0] for name in stage.state_dict()} == {"adapter"}
    before = {name: p.clone() for name, p in stage.frozen[0].named_parameters()}
    optimizer = stage.configure_optimizers()
    stage.maps = lambda x: torch.full((len(x), 16, 16), 8)
    losses = []
    coded = stage.coded(x)
    for _ in range(20):
        loss = distance(stage.features.terms_of(stage.tokens(coded)))[0].mean()
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = 3e-4
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0], losses
    assert all(torch.equal(p, before[name]) for name, p in stage.frozen[0].named_parameters())
    assert all(p.grad is None for p in stage.features.tower.parameters())


@pytest.fixture
def stage() -> AdapterStage:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(
            "train",
            [
                "experiment=adapter",
                "tower.weights=random",
                "model=small",
                "stage.inner=32",
                "stage.memory=2",
            ],
        )
    made = hydra.utils.instantiate(config.stage)
    made.log = made.log_dict = lambda *_, **__: None
    made.start_from(checkpoint.find("small"), lambda: torch.zeros(1))
    return made


@pytest.mark.slow
def test_a_fresh_batch_is_followed_by_remembered_ones(
    stage: AdapterStage, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = []
    coded = stage.coded
    monkeypatch.setattr(stage, "coded", lambda x: fresh.append(x) or coded(x))
    monkeypatch.setattr(AdapterStage, "global_step", property(lambda self: self.at), raising=False)
    losses = []
    for step in range(13):
        stage.at = step
        torch.manual_seed(step)
        losses.append(float(stage.training_step(x + 0.01 * step, 0).detach()))
    assert len(fresh) == 4
    assert len(stage.memory) == 2
    assert losses[1] == losses[2] == pytest.approx(losses[0], rel=0.01)  # half precision
    assert losses[4] != losses[0]
    assert stage.memory[0].samples.dtype == torch.float16


@pytest.mark.slow
def test_a_run_that_goes_on_has_its_codec_and_its_blocks(
    stage: AdapterStage, x: Tensor, tmp_path: Path
) -> None:
    torch.nn.init.normal_(stage.adapter.head.weight)
    state: dict[str, Any] = {"state_dict": stage.state_dict()}
    stage.on_save_checkpoint(state)
    torch.save(state, tmp_path / "last.ckpt")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(
            "train",
            [
                "experiment=adapter",
                "tower.weights=random",
                "model=small",
                "stage.inner=32",
                "stage.blocks=3",
            ],
        )
    grown = hydra.utils.instantiate(config.stage)
    grown.start_from(tmp_path / "last.ckpt", lambda: x)
    assert grown.fingerprint == stage.fingerprint
    torch.testing.assert_close(grown.frozen[0].g_s.state_dict(), stage.frozen[0].g_s.state_dict())
    coded = stage.coded(x)
    torch.testing.assert_close(
        grown.adapter(coded.samples, coded.tokens), stage.adapter(coded.samples, coded.tokens)
    )
    resumed = hydra.utils.instantiate(config.stage)
    resumed.on_load_checkpoint(state)
    torch.testing.assert_close(resumed.frozen[0].g_s.state_dict(), stage.frozen[0].g_s.state_dict())
    with pytest.raises(UnknownModel, match="not shipped any more"):
        hydra.utils.instantiate(config.stage).on_load_checkpoint(state | {"codec": "0" * 16})


@pytest.mark.slow
def test_a_later_layer_is_repaired_behind_the_frozen_earlier_ones(
    stage: AdapterStage, x: Tensor, tmp_path: Path
) -> None:
    """A run starts from an adapter's file; a resumed run has the same earlier repairs."""
    torch.nn.init.normal_(stage.adapter.head.weight, std=0.1)
    tower = stage.features.tower
    place = tmp_path / "adapter.safetensors"
    facts = {
        "codec": stage.fingerprint,
        "tower": tower.name,
        "signature": tower.signature,
        "training": {"steps": 7},
    }
    save_adapter(place, {0: stage.adapter}, facts)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        common = [
            "experiment=adapter_last",
            "tower.weights=random",
            "model=small",
            "stage.inner=32",
        ]
        config = compose("train", common)
        early = compose("train", [*common, "stage.levels.middle=1"])
        elsewhere = compose("train", [*common, "stage.codec=small-mse"])
    later = hydra.utils.instantiate(config.stage)
    later.features.frozen = stage.features.frozen
    later.start_from(place, lambda: x)
    assert later.fingerprint == stage.fingerprint
    maps = lambda x: torch.full((len(x), 16, 16), 8)  # noqa: E731
    stage.maps = later.maps = maps
    before, coded = stage.coded(x), later.coded(x)
    entering = before.tokens + load_adapter(place).networks[0](before.samples, before.tokens)
    torch.testing.assert_close(coded.tokens, tower.continued(entering, [LAST])[LAST])
    optimizer = torch.optim.Adam(later.adapter.parameters(), lr=1e-3)
    losses = []
    for _ in range(15):
        loss = distance(later.features.terms_of(later.tokens(coded)))[0].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0], losses
    state: dict[str, Any] = {"state_dict": later.state_dict()}
    later.on_save_checkpoint(state)
    resumed = hydra.utils.instantiate(config.stage)
    resumed.on_load_checkpoint(state)
    assert resumed.earlier.training == {0: {"steps": 7}}
    torch.testing.assert_close(
        resumed.earlier.networks[0].state_dict(), later.earlier.networks[0].state_dict()
    )
    assert {name.split(".")[0] for name in later.state_dict()} == {"adapter"}
    moved = hydra.utils.instantiate(elsewhere.stage)
    moved.start_from(place, lambda: x)
    assert (
        moved.fingerprint
        == checkpoint.load(checkpoint.find("small-mse")).fingerprint.hex()
        != stage.fingerprint
    )
    torch.testing.assert_close(
        moved.earlier.networks[0].state_dict(), later.earlier.networks[0].state_dict()
    )
    with pytest.raises(hydra.errors.InstantiationException, match="later levels only"):
        hydra.utils.instantiate(early.stage)
