"""The method of arXiv 2509.24258, selected by flags, with a CLIP of open_clip (random weights)."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray
from safetensors.torch import save_file

import codec
from benchmarks.lib import markdown
from benchmarks.lib.task_tables import published_table
from codec.bitstream.qp_map import PAPER_QPS
from codec.errors import BadArgument
from codec.guidance import Importance, choose
from codec.info import qp_field_of
from codec.networks.adapter import AdapterConfig, TokenAdapter
from codec.tokens.adapters import load_adapter
from codec.towers import load_tower
from tests.test_training import CONF
from training.export.adapter import export_adapter
from training.trainer import train

TOY = "toy-clip"
SIDE = 128


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a small CLIP, which open_clip builds by name: 8x8 patches, four blocks."""
    folder = tmp_path_factory.mktemp("clip")
    vision = {"image_size": SIDE, "layers": 4, "width": 64, "head_width": 16, "patch_size": 16}
    text = {"context_length": 8, "vocab_size": 99, "width": 32, "heads": 2, "layers": 1}
    config = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": text}
    (folder / f"{TOY}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    model = open_clip.create_model(TOY)
    weights = folder / "clip.safetensors"
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, weights)
    return weights


def test_the_guide_is_shallow_attention_in_three_levels(
    cotam: codec.Codec, photo: NDArray[np.uint8], clip: Path
) -> None:
    guide = choose(f"paper:{TOY}", weights=str(clip))
    found = guide(photo)
    assert isinstance(found, Importance)
    assert found.rule == "paper"
    data = cotam.encode(photo, tool="learned", quality=40, guide=guide)
    assert codec.inspect(data).map_grid == (8, 8)
    offsets = qp_field_of(data)[::3, ::4]
    assert len(np.unique(offsets)) == 3
    assert np.ptp(offsets) == pytest.approx(2 * PAPER_QPS, abs=1)
    # The cell with the finest step has more attention than the average.
    finest = np.unravel_index(qp_field_of(data).argmax(), qp_field_of(data).shape)
    rows, columns = found.values.shape
    cell = finest[0] * rows // qp_field_of(data).shape[0], finest[1] * columns // 29
    assert found.values[cell] > found.values.mean()


def test_the_published_guide_has_no_slope(
    cotam: codec.Codec, photo: NDArray[np.uint8], clip: Path
) -> None:
    guide = choose("paper", model=TOY, weights=str(clip))
    plain, flat, sloped = (
        cotam.encode(photo, tool="learned", quality=40, guide=guide, slope=slope)
        for slope in (None, 0, 8)
    )
    assert plain == flat != sloped
    by_preset = choose("clip", "paper", TOY, str(clip))
    assert cotam.encode(photo, tool="learned", quality=40, guide=by_preset) == sloped


def test_a_tower_is_named_once() -> None:
    for name, options in (
        ("paper:", {}),
        ("paper:ViT-B-16", {"model": "ViT-B-32"}),
        ("paper", {"preset": "attention"}),
        ("student:ViT-B-16", {}),
        ("local", {"preset": "paper"}),
        ("local", {"model": "ViT-B-16"}),
    ):
        with pytest.raises(BadArgument):
            choose(name, **options)


def test_the_published_adapter_has_as_many_weights_as_published() -> None:
    published = AdapterConfig(319, 1024, 24, 24, 1, inner=1024, heads=16, head=False)
    weights = sum(p.numel() for p in TokenAdapter(published).parameters())
    assert round(weights / 1e6, 1) == 13.5
    with pytest.raises(ValueError, match="as wide"):
        AdapterConfig(8, 48, 14, 14, 1, inner=24, head=False)


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["paper", "paper_code"])
def test_an_experiment_ends_in_tokens(
    experiment: str, clip: Path, pictures: Path, tmp_path: Path, photo: NDArray[np.uint8]
) -> None:
    """Two steps use L_low alone, later ones also L_high; the adapter repairs a file's tokens."""
    run = tmp_path / "run"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(
            "train",
            [
                f"experiment={experiment}",
                f"tower.name={TOY}",
                f"tower.weights={clip}",
                f"data_folder={pictures}",
                f"run_dir={run}",
                "start=checkpoints/small-mse.safetensors",
                "trainer=cpu",
                "trainer.log_every_n_steps=1",
                "steps=5",
                "stage.low_only=0.4",
                "data.batch=1",
                "data.size=64",
                "data.weights={photos: 1}",
            ],
        )
    train(config)
    with next(run.rglob("metrics.csv")).open() as log:
        rows = list(csv.DictReader(log))
    assert all(row["D_low"] for row in rows)
    assert [bool(row["D_high"]) for row in rows] == [False, False, True, True, True]
    place = tmp_path / "adapter.safetensors"
    export_adapter(run, place, "What.", "Limits.")
    assert "L_high" in place.with_suffix(".md").read_text()
    adapter = load_adapter(place)
    assert adapter.networks[0].config.inner == 64
    assert not adapter.networks[0].config.head
    small_mse = codec.load("small-mse", device="cpu")
    data = small_mse.encode(photo, tool="learned", quality=20, guide="uniform")
    tower = load_tower(TOY, str(clip))
    repaired = small_mse.decode_tokens(data, tower, adapter=place)
    assert repaired.shape == (1, 65, 64)
    assert torch.isfinite(repaired).all()


def test_the_table_shows_both_methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of the published method come from a separate result."""
    ours = json.loads((markdown.RESULTS / "tasks.json").read_text())
    (tmp_path / "tasks.json").write_text(json.dumps(ours))
    rate = {"value": -1.25, "low": -2.0, "high": -0.5}
    published = {"bd_rate": {"deit": {"paper-teacher": {"token_mse_last": rate}}}}
    (tmp_path / "tasks_published.json").write_text(json.dumps(published))
    code = {"bd_rate": {"deit": {"tokens-uniform": {"token_mse_last": rate}}}}
    (tmp_path / "tasks_published_code.json").write_text(json.dumps(code))
    monkeypatch.setattr(markdown, "RESULTS", tmp_path)
    table = published_table()
    assert "| map alone | -1.2 % (-2.0..-0.5) |" in table
    assert "| adapter alone | - | -1.2 % (-2.0..-0.5) |" in table
    assert "| joint training | - |" in table
