"""Training: configurations, crops, losses, and weights to start from."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.errors import UnknownModel
from codec.evaluation.judges import data_root
from codec.networks.config import ModelConfig
from codec.networks.gains import Gain
from codec.networks.integer import EXACT_LIMIT, integer_layers
from codec.networks.model import Networks
from codec.weights.checkpoint import load
from codec.weights.networks import bounds, from_checkpoint, trainable_from_checkpoint
from tests.conftest import ROOT
from training.data.folder import FolderData, RandomCrops
from training.data.qp_maps import QpMaps
from training.losses.joint import RateDistortion
from training.losses.rate import RateModel, fit_bottleneck
from training.run import data_folder
from training.trainer import make_trainer

CONF = ROOT / "conf"


def test_training_and_evaluation_look_for_pictures_in_one_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for folder in (None, "/pictures"):
        monkeypatch.delenv("COTAM_DATA", raising=False)
        if folder is not None:
            monkeypatch.setenv("COTAM_DATA", folder)
        assert data_folder() == data_root() == Path(folder or "data")


def names(group: str) -> list[str]:
    return sorted(p.stem for p in (CONF / group).glob("*.yaml"))


# Every experiment with every trainer, and every model with every experiment that trains it.
CONFIGURATIONS = [
    *(
        (experiment, trainer, "toy")
        for experiment in names("experiment")
        for trainer in names("trainer")
    ),
    *((experiment, "cpu", model) for experiment in ("base", "joint") for model in names("model")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("experiment", "trainer", "model"), CONFIGURATIONS)
def test_every_configuration_instantiates(
    experiment: str, trainer: str, model: str, tmp_path: Path
) -> None:
    if experiment == "elic":
        pytest.importorskip("compressai", reason="cotam[compressai] is not installed")
    overrides = [
        f"experiment={experiment}",
        f"trainer={trainer}",
        f"model={model}",
        f"run_dir={tmp_path}",
        "tower.weights=random",
        "second_tower.name=timm:deit_tiny_patch16_224",
        "second_tower.weights=random",
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides)
    assert hydra.utils.instantiate(config.model).name == model
    stage = hydra.utils.instantiate(config.stage)
    assert isinstance(stage.configure_optimizers(), torch.optim.Optimizer)
    hydra.utils.instantiate(config.data)
    if trainer == "gpu" and not torch.cuda.is_available():
        pytest.skip("the trainer `gpu` needs a CUDA device; everything but the trainer was made")
    make_trainer(config)


def test_crops_skip_and_count_what_cannot_be_decoded(pictures: Path) -> None:
    torch.manual_seed(0)
    crops = RandomCrops([pictures / "train" / "photos"], [1.0], 12, 128)
    found = torch.stack([crops[i] for i in range(12)])
    assert found.shape == (12, 3, 128, 128)
    assert 0 <= found.min() < found.max() <= 1
    assert crops.skipped > 0


def test_steps_that_remember_draw_no_crops(pictures: Path) -> None:
    """The first step after a start draws crops in any case. Drawn crops are the usual ones."""
    folder = [pictures / "train" / "photos"]
    every, some = (RandomCrops(folder, [1.0], 16, 128) for _ in range(2))
    every.first = some.first = 2 * 5
    some.per_step, some.every = 2, 4
    drawn = [len(some[i]) > 0 for i in range(16)]
    assert [5 + step for step in range(8) if drawn[2 * step]] == [5, 8, 12]
    assert drawn[::2] == drawn[1::2]
    assert all(torch.equal(some[i], every[i]) for i in range(16) if drawn[i])
    assert torch.stack([some[2], some[3]]).shape == (2, 0)


HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
LOOK = """
from pathlib import Path
import torch
from training.device import use_huge_pages
{wish}
kept = torch.zeros(16 << 20)
lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
print(next(line.split()[1] for line in lines if "AnonHugePages" in line))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not HUGE_PAGES.exists() or "[madvise]" not in HUGE_PAGES.read_text(),
    reason="huge pages are given unasked or never here",
)
def test_large_tensors_of_training_lie_in_huge_pages() -> None:
    def kilobytes(wish: str) -> int:
        clean = {k: v for k, v in os.environ.items() if k != "THP_MEM_ALLOC_ENABLE"}
        command = [sys.executable, "-c", LOOK.format(wish=wish)]
        return int(
            subprocess.run(command, env=clean, cwd=ROOT, check=True, capture_output=True).stdout
        )

    assert kilobytes("use_huge_pages()") > kilobytes("") + (32 << 10)


def test_small_pictures_fill_a_crop(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    Image.fromarray(photo[:40, :300]).save(tmp_path / "strip.png")
    assert RandomCrops([tmp_path], [1.0], 1, 256)[0].shape == (3, 256, 256)
    with pytest.raises(FileNotFoundError, match="COTAM_DATA"):
        FolderData(str(tmp_path), {"none": 1.0}, 1, 1, 64, 1.0, 0).train_dataloader()


def test_crops_in_other_colours_differ_from_the_same_crops_in_their_own(pictures: Path) -> None:
    folder = [pictures / "train" / "photos"]
    own = RandomCrops(folder, [1.0], 12, 128)
    recoloured = RandomCrops(folder, [1.0], 12, 128, recolour=0.5)
    assert RandomCrops(folder, [1.0], 12, 128, recolour=1.0)[3].sub(own[3]).abs().max() > 0.01
    same = sum(torch.equal(own[i], recoloured[i]) for i in range(12))
    assert 0 < same < 12
    for crop in (recoloured[i] for i in range(12)):
        assert crop.min() >= 0
        assert crop.max() <= 1
        assert (crop * 255).sub((crop * 255).round()).abs().max() < 1e-3


def test_random_maps_cover_all_rates() -> None:
    torch.manual_seed(0)
    maps = QpMaps(map_share=0.5)(torch.zeros(400, 3, 128, 128))
    assert maps.min() == 0
    assert maps.max() == 63
    uniform = (maps.flatten(1).amin(1) == maps.flatten(1).amax(1)).float().mean()
    assert 0.4 < uniform < 0.7


def test_the_training_path_is_the_coding_path(
    cotam: codec.Codec, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With plain rounding, training has the coder's y_hat, and its bits are near the file's."""
    monkeypatch.setattr(cotam.backend.inner, "bfloat16", False)
    plain = codec.Codec(cotam.backend)
    plain.learned.pipeline.skip_below, plain.learned.pipeline.rate_weight = 0, 0.0
    networks = from_checkpoint(cotam.backend.checkpoint)
    pixels = photo[:256, :384]
    x = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 255
    qp = torch.full((1, 16, 24), 32)
    encoded = plain.encode_full(
        pixels, tool="learned", quality=32 * 100 / 63, guide="uniform", slope=0
    )
    with torch.no_grad():
        y = networks.g_a(x, qp)
        rate_model = RateModel(networks.config.z)
        y_hat, noisy = rate_model.code_latent(networks, y, networks.h_a(y), qp)
        _, bits = rate_model.code_latent(networks, y, networks.h_a(y), qp, rounded=True)
    ours = y_hat[0].permute(1, 2, 0).numpy()
    assert np.mean(np.abs(ours - encoded.y_hat) < 1e-6) > 0.97
    assert abs(float(bits) / (len(encoded.data) * 8) - 1) < 0.1
    assert float(noisy) > float(bits)


def test_gradients_reach_every_weight() -> None:
    torch.manual_seed(0)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", ["experiment=toy"])
    networks = Networks(hydra.utils.instantiate(config.model))
    rate_model = RateModel(networks.config.z)
    for layer in integer_layers(networks).values():
        torch.nn.init.normal_(layer.weight, std=0.2)
    for name, weight in networks.named_parameters():
        if "project" in name:
            torch.nn.init.normal_(weight, std=0.1)
    torch.nn.init.normal_(networks.h_a.head.weight, std=2.0)
    x = torch.rand(2, 3, 256, 256)
    qp = QpMaps()(x)
    loss, _ = RateDistortion()(x, qp, rate_model(networks, x, qp))
    loss.backward()
    without = [
        n for n, p in networks.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ]
    assert not without, without


def test_a_fractional_qp_lies_between_and_has_a_gradient() -> None:
    gain = Gain(3, slope=1.0)
    torch.nn.init.normal_(gain.log_gain)
    x = torch.ones(1, 3, 1, 2)
    lower, upper = (gain(x, torch.full((1, 1, 2), qp)) for qp in (20, 21))
    field = torch.full((1, 1, 2), 20.25, requires_grad=True)
    between = gain(x, field)
    torch.testing.assert_close(between, 0.75 * lower + 0.25 * upper)
    between.sum().backward()
    assert field.grad is not None
    torch.testing.assert_close(field.grad, (upper - lower).sum(1))


@pytest.mark.slow
def test_exported_weights_can_be_trained_on(cotam: codec.Codec, photo: NDArray[np.uint8]) -> None:
    """Training starts from the same networks, and the likelihoods of z can be fitted to them."""
    stored = cotam.backend.checkpoint
    networks, frozen = trainable_from_checkpoint(stored), from_checkpoint(stored)
    assert all(p.requires_grad for p in networks.parameters())
    x = torch.from_numpy(np.array(photo[:256, :256])).permute(2, 0, 1)[None].float() / 255
    qp = torch.full((1, 16, 16), 27)  # an anchor QP: between anchors, the stored table is rounded
    with torch.no_grad():
        rate_model = RateModel(networks.config.z)
        y, y_frozen = networks.g_a(x, qp), frozen.g_a(x, qp)
        torch.testing.assert_close(y, y_frozen, rtol=1e-3, atol=1e-3)
        z = networks.h_a(y)
        ours, bits = rate_model.code_latent(networks, y, z, qp, rounded=True)
        theirs, bits_frozen = rate_model.code_latent(frozen, y, z, qp, rounded=True)
    assert (ours == theirs).float().mean() > 0.999
    assert abs(float(bits / bits_frozen) - 1) < 0.02
    crops = x.repeat(4, 1, 1, 1)
    assert fit_bottleneck(rate_model, networks, crops, 200) < 0.3 * fit_bottleneck(
        RateModel(64), networks, crops, 1
    )


def test_a_start_keeps_the_transforms_where_the_prior_is_of_another_size(
    photo: NDArray[np.uint8],
) -> None:
    stored = load("tiny")
    config = ModelConfig(**stored.metadata["config"])
    other = replace(config, h=32, p=32, p_low=16, blocks_a8=0, blocks_a16=2, step_block=False)
    networks, frozen = trainable_from_checkpoint(stored, other), from_checkpoint(stored)
    for name, tensor in networks.g_a.state_dict().items():
        if "blocks16.1" not in name:
            torch.testing.assert_close(tensor, frozen.g_a.state_dict()[name])
    torch.testing.assert_close(networks.g_s.state_dict(), frozen.g_s.state_dict())
    torch.testing.assert_close(networks.prior.mean_scale, frozen.prior.mean_scale)
    x = torch.from_numpy(np.array(photo[:128, :128])).permute(2, 0, 1)[None].float() / 255
    seen = RateModel(other.z)(networks, x, torch.full((1, 8, 8), 27), False)
    assert torch.isfinite(seen.x_hat).all()
    assert max(bounds(networks).values()) < EXACT_LIMIT
    with pytest.raises(UnknownModel, match="same widths"):
        trainable_from_checkpoint(stored, replace(config, n=64, c=128))


@pytest.mark.slow
def test_the_student_learns_a_towers_attention(photo: NDArray[np.uint8]) -> None:
    torch.manual_seed(0)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", ["experiment=student", "tower.weights=random"])
    stage = hydra.utils.instantiate(config.stage)
    tower = stage.frozen[0]
    x = (
        torch.from_numpy(np.stack([photo[:256, :256], photo[40:296, 190:446]]))
        .permute(0, 3, 1, 2)
        .float()
        / 255
    )
    target = stage.teacher_attention(x)
    torch.testing.assert_close(target, tower.attention(tower.prepare(x), 3).mean(1))
    felt = stage.teacher_sensitivity(x)
    assert felt.shape == target.shape == (2, 14, 14)
    assert felt.min() > 0
    pattern = torch.linspace(1, 2, 14).expand(2, 14, 14)
    optimizer = stage.configure_optimizers()
    losses = []
    for _ in range(30):
        attention, sensitivity, _ = stage.student(x)
        loss = stage.attention_loss(attention, pattern) + stage.sensitivity_loss(
            sensitivity, pattern
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert all(p.grad is None for p in tower.parameters())


@pytest.mark.slow
def test_a_student_can_learn_from_coding_errors(photo: NDArray[np.uint8]) -> None:
    """Where the codec makes no error, none is felt, however sensitive the tower is there."""
    torch.manual_seed(0)
    overrides = ["experiment=student", "tower.weights=random", "stage.errors_of=small"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        stage = hydra.utils.instantiate(compose("train", overrides).stage)
    stage.maps = lambda x: torch.full((len(x), 16, 16), 30)
    x = torch.from_numpy(photo[None, :256, :256] / np.float32(255)).permute(0, 3, 1, 2)
    half = x.clone()
    half[..., 128:] = 0.5
    error = stage.coding_error(half)
    assert error.shape == (1, 3, 224, 224)
    assert error[..., :100].abs().mean() > 2 * error[..., 124:].abs().mean() > 0
    felt = stage.teacher_sensitivity(half)
    stage.coder = None
    by_noise = stage.teacher_sensitivity(half)
    assert felt.shape == by_noise.shape == (1, 14, 14)
    left, right = ((v[..., :6].mean(), v[..., 8:].mean()) for v in (felt, by_noise))
    assert left[0] / right[0] > 3 * left[1] / right[1]


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["joint", "paper", "code"])
@pytest.mark.parametrize("qp_maps", names("qp_maps"))
def test_the_joint_stage_takes_every_loss_and_guide(loss: str, qp_maps: str) -> None:
    if qp_maps == "clip":
        pytest.skip("CLIP's published weights are fetched when this guide is made")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = [
            "experiment=joint",
            f"loss={loss}",
            f"qp_maps={qp_maps}",
            "model=toy",
            "tower.weights=random",
        ]
        config = compose("train", overrides)
    stage = hydra.utils.instantiate(config.stage)
    assert type(stage.loss.features).__name__.lower() == {"joint": "multilevel"}.get(loss, loss)
    assert not [name for name, _ in stage.named_parameters() if "tower" in name or "trunk" in name]
    assert stage.maps(torch.rand(2, 3, 64, 64)).shape == (2, 4, 4)


def test_a_crop_of_a_wrong_size_is_one_sentence(pictures: Path) -> None:
    for size in (96, 0):
        with pytest.raises(ValueError, match="multiple of 64"):
            RandomCrops([pictures / "train" / "photos"], [1.0], 12, size)


def test_a_mean_of_two_runs() -> None:
    from training.export.codec import blended

    torch.manual_seed(0)
    one, other = (
        Networks(ModelConfig(name="toy", n=48, c=64, m=32, h=16, z=8, p=16)) for _ in range(2)
    )
    name = "g_a.stem.weight"
    before, theirs = one.state_dict()[name].clone(), other.state_dict()[name]
    torch.testing.assert_close(blended(one, other, 0.0).state_dict()[name], before)
    torch.testing.assert_close(
        blended(one, other, 0.25).state_dict()[name], 0.75 * before + 0.25 * theirs
    )
    torch.testing.assert_close(blended(one, other, 1.0).state_dict()[name], theirs)
    with pytest.raises(ValueError, match="share"):
        blended(one, other, 1.5)


def test_a_mean_with_a_start_of_fewer_blocks() -> None:
    """A block that the start lacks counts as the identity, so the mean has a weaker block."""
    from training.export.codec import blended

    small = {"name": "toy", "n": 48, "c": 64, "m": 32, "h": 16, "z": 8, "p": 16}
    grown, start = (
        Networks(ModelConfig(**small, blocks_s16=3)),
        Networks(ModelConfig(**small, blocks_s16=3)),
    )
    block = grown.g_s.blocks16[2]
    torch.nn.init.normal_(block.project.weight)
    kept, before = block.depthwise.weight.clone(), block.project.weight.clone()
    mixed = blended(grown, start, 0.25).g_s.blocks16[2]
    torch.testing.assert_close(mixed.depthwise.weight, kept)
    torch.testing.assert_close(mixed.project.weight, 0.75 * before)
