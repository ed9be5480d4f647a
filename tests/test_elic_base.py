"""ELIC as a base codec with QPs, QP maps and guides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray

from codec.errors import BadArgument, Corrupt, NotACotamFile, UnknownModel, WrongModel
from codec.evaluation import codecs
from codec.evaluation.distortion import psnr
from codec.guidance import choose
from tests.test_training import CONF
from training.run import LAST_CHECKPOINT
from training.trainer import train

pytest.importorskip("compressai", reason="compressai is missing")
from codec.evaluation.codecs.elic_base import (
    ElicCodec,
    GainedElic,
    load_elic,
    save_elic,
)
from training.export.elic import export_elic


@pytest.fixture(scope="module")
def elic(tmp_path_factory: pytest.TempPathFactory) -> ElicCodec:
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("elic") / "toy.safetensors"
    save_elic(place, GainedElic(16, 144), {})
    return load_elic(place)


@pytest.mark.slow
def test_files_come_back_with_maps_and_guides(elic: ElicCodec, small: NDArray[np.uint8]) -> None:
    qp_map = np.array([[10, 50]])
    sizes = {}
    for name, options in {
        "low": {"quality": 10},
        "high": {"quality": 90},
        "map": {"qp_map": qp_map},
        "guided": {"quality": 50, "guide": choose("student")},
    }.items():
        data = elic.encode(small, **options)
        assert elic.decode(data).shape == small.shape
        sizes[name] = len(data)
    assert sizes["low"] < sizes["high"]
    assert elic.encode(small, qp_map=qp_map) == elic.encode(small, qp_map=qp_map)
    with pytest.raises(BadArgument):
        elic.encode(small, qp_map=np.full((99, 99), 20))


@pytest.mark.slow
def test_a_file_of_other_weights_or_another_machine_is_refused(
    elic: ElicCodec, small: NDArray[np.uint8]
) -> None:
    data = elic.encode(small, 30)
    with pytest.raises(NotACotamFile):
        elic.decode(b"something else")
    torch.manual_seed(1)
    with pytest.raises(WrongModel):
        ElicCodec(GainedElic(16, 144)).decode(data)
    damaged = bytearray(data)
    damaged[-3] ^= 255
    with pytest.raises(Corrupt):
        elic.decode(bytes(damaged))
    # A wrong checksum, as on a machine that computes other latents, is detected.
    otherwise = bytearray(data)
    otherwise[17] ^= 1
    with pytest.raises(Corrupt, match="compute exactly alike"):
        elic.decode(bytes(otherwise))
    assert not elic.portable


@pytest.mark.slow
def test_a_toy_run_learns_and_is_exported(
    pictures: Path, tmp_path: Path, small: NDArray[np.uint8]
) -> None:
    run = tmp_path / "run"
    overrides = [
        "experiment=elic",
        f"data_folder={pictures}",
        f"run_dir={run}",
        "trainer=cpu",
        "steps=25",
        "stage.n=16",
        "stage.m=144",
        "stage.warmup=2",
        "stage.learning_rate=1e-3",
        "ema=0.5",
        "data.batch=2",
        "data.size=64",
        "data.weights={photos: 1}",
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        train(compose("train", overrides))
    assert (run / LAST_CHECKPOINT).is_file()
    place = tmp_path / "elic.safetensors"
    export_elic(run, place)
    trained = load_elic(place)
    torch.manual_seed(1)
    untrained = ElicCodec(GainedElic(16, 144))
    assert trained.fingerprint != untrained.fingerprint
    before, after = (psnr(small, one.decode(one.encode(small, 60))) for one in (untrained, trained))
    assert after > before + 1
    under_test = codecs.codec_under_test(f"elic-gain:{place}@student")
    assert under_test.decode(under_test.encode(small, 40)).shape == small.shape
    with pytest.raises(UnknownModel):
        load_elic(run / "config.yaml")
