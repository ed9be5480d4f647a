"""Whole training runs as users start them: learning, resuming, several processes, exporting."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import codec
from codec.networks.config import ModelConfig
from codec.weights import checkpoint
from tests import forked
from tests.conftest import ROOT, psnr

pytestmark = pytest.mark.slow
ONE_THREAD = {
    "OMP_NUM_THREADS": "1"
}  # several threads may sum in another order, which once changed the last bits of a few weights


def arguments(run: Path, *overrides: str) -> list[str]:
    experiment = () if any(o.startswith("experiment=") for o in overrides) else ("experiment=toy",)
    return [*experiment, f"run_dir={run}", *overrides]


def start(pictures: Path, run: Path, *overrides: str) -> subprocess.Popen[str]:
    """Start the command as a user does."""
    return subprocess.Popen(
        [sys.executable, "-m", "training.train", *arguments(run, *overrides)],
        cwd=ROOT,
        env=os.environ | {"COTAM_DATA": str(pictures), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def train(pictures: Path, run: Path, *overrides: str, exact: bool = False) -> str:
    """Train in a forked process. Returns what the command printed."""
    environment = {"COTAM_DATA": str(pictures)} | (ONE_THREAD if exact else {})
    status, output = forked.run("training.train", arguments(run, *overrides), environment)
    assert status == 0, output[-3000:]
    return output


def logged(run: Path, version: int = 0) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "csv" / f"version_{version}" / "metrics.csv").open()))


def state_of(run: Path) -> dict[str, Any]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def export(run: Path, target: Path, *options: str) -> None:
    status, output = forked.run("training.export.__main__", (run, target, *options))
    assert status == 0, output[-3000:]


def test_a_toy_run_learns_resumes_and_exports(
    pictures: Path, tmp_path: Path, photo: NDArray[np.uint8]
) -> None:
    run = tmp_path / "run"
    train(
        pictures,
        run,
        "steps=60",
        "trainer.log_every_n_steps=1",
        "validation.every=60",
        f"validation.folder={pictures}/train/text",
    )
    rows = list(csv.DictReader((run / "csv" / "version_0" / "metrics.csv").open()))
    losses = [float(row["loss"]) for row in rows if row["loss"]]
    assert np.mean(losses[-20:]) < np.mean(losses[:20])
    assert any(row["val_bpp_q45"] for row in rows)
    last = run / "checkpoints" / "last.ckpt"
    assert [path.name for path in last.parent.iterdir()] == ["last.ckpt"]
    state = state_of(run)
    assert state["global_step"] == 60
    averaged, in_training = state["state_dict"], state["current_model_state"]
    assert any(not torch.equal(averaged[name], in_training[name]) for name in averaged)
    train(pictures, run, "steps=80", f"resume={last}")
    assert [path.name for path in last.parent.iterdir()] == ["last.ckpt"]
    assert state_of(run)["global_step"] == 80
    target = tmp_path / "toy.safetensors"
    options = (
        "--pictures",
        "2",
        "--blend",
        str(run),
        "0.5",
        "--rate-weight",
        "0.03",
        "--equalize",
        "0.5",
        "--slope",
        "5",
    )
    export(run, target, "--limits", "A toy.", *options)
    assert "A toy." in target.with_suffix(".md").read_text()
    toy = codec.load(target)
    assert "mixed with 50%" in target.with_suffix(".md").read_text()
    assert "50% of the way to equal costs" in target.with_suffix(".md").read_text()
    assert toy.learned.pipeline.rate_weight == 0.03
    assert toy.backend.checkpoint.slope == 5
    assert "5 lower for each nat" in target.with_suffix(".md").read_text()
    assert toy.backend.checkpoint.metadata["training"]["steps"] == 80
    encoded = toy.encode_full(photo, tool="learned", quality=60)
    decoded = toy.decode_full(encoded.data)
    np.testing.assert_array_equal(decoded.y_hat, encoded.y_hat)
    assert psnr(decoded.picture.pixels, photo) > 24
    export(target, tmp_path / "flat.safetensors", "--slope", "0")
    flat = checkpoint.load(tmp_path / "flat.safetensors")
    assert (flat.slope, flat.rate_weight, flat.fingerprint) == (
        0,
        0.03,
        checkpoint.load(target).fingerprint,
    )
    assert "the same QP for all" in (tmp_path / "flat.md").read_text()
    assert isinstance(checkpoint.load(target).metadata["config"], dict)
    assert ModelConfig(**checkpoint.load(target).metadata["config"]).name == "toy"
    train(
        pictures,
        tmp_path / "further",
        "steps=2",
        f"start={target}",
        "stage.equalize=0.5",
        "stage.gain_factor=4",
    )
    export(tmp_path / "further", tmp_path / "further.safetensors", "--blend", str(target), "0.5")


def test_a_run_learns_where_compressai_cannot_be_imported(pictures: Path, tmp_path: Path) -> None:
    """For example on Python 3.13, which compressai does not support."""
    program = (
        "import sys; sys.modules['compressai'] = None; from training.train import main; main()"
    )
    run = tmp_path / "run"
    settings = ("experiment=toy", f"run_dir={run}", "steps=30", "trainer.log_every_n_steps=1")
    subprocess.run(
        [sys.executable, "-c", program, *settings],
        cwd=ROOT,
        env=os.environ | {"COTAM_DATA": str(pictures), "PYTHONPATH": str(ROOT)},
        check=True,
        timeout=600,
    )
    losses = [float(row["loss"]) for row in logged(run) if row["loss"]]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    assert state_of(run)["global_step"] == 30


def test_a_run_without_pictures_or_weights_ends_with_one_sentence(
    pictures: Path, tmp_path: Path
) -> None:
    for folder, *overrides, sentence in (
        (tmp_path, f"cotam-train: no pictures below {tmp_path}/train/photos"),
        (pictures, "start=none.safetensors", "cotam-train: no weights named 'none.safetensors'"),
    ):
        given = arguments(tmp_path / "run", *overrides)
        status, output = forked.run("training.train", given, {"COTAM_DATA": str(folder)})
        assert status == 1
        assert "Traceback" not in output, output
        assert sentence in output.splitlines()[-1], output


def test_a_resumed_run_is_the_run_that_never_stopped(pictures: Path, tmp_path: Path) -> None:
    """Twenty steps in one run or in two runs of ten have the same losses and weights."""
    settings = ("steps=20", "trainer.log_every_n_steps=1", "qp_maps=student")
    train(pictures, tmp_path / "whole", *settings, exact=True)
    train(pictures, tmp_path / "parts", *settings, "trainer.max_steps=10", exact=True)
    train(
        pictures,
        tmp_path / "parts",
        *settings,
        f"resume={tmp_path}/parts/checkpoints/last.ckpt",
        exact=True,
    )
    whole = [row["loss"] for row in logged(tmp_path / "whole") if row["loss"]]
    parts = [
        row["loss"]
        for version in (0, 1)
        for row in logged(tmp_path / "parts", version)
        if row["loss"]
    ]
    assert len(set(whole)) == 20
    assert parts == whole
    ours, theirs = (state_of(tmp_path / name)["state_dict"] for name in ("parts", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_sigterm_saves_a_checkpoint_that_resumes(pictures: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(pictures, run, "steps=5000", "trainer.log_every_n_steps=1")
    metrics = run / "csv" / "version_0" / "metrics.csv"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and len(logged(run)) > 2):
        assert process.poll() is None, process.communicate()[0][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert "Received SIGTERM" in output, output[-1000:]
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["last.ckpt"]
    reached = state_of(run)["global_step"]
    assert reached > 0
    train(pictures, run, f"steps={reached + 3}", f"resume={run}/checkpoints/last.ckpt")
    assert state_of(run)["global_step"] == reached + 3


def test_two_processes_share_the_work(pictures: Path, tmp_path: Path) -> None:
    """With Gloo on one CPU, both processes contribute to every step."""
    one, two = tmp_path / "one", tmp_path / "two"
    settings = ("steps=4", "trainer.log_every_n_steps=1")
    train(pictures, one, *settings)
    both = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "logger=csv")
    process = start(pictures, two, *settings, *both)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output[-3000:]
    assert "All distributed processes registered. Starting with 2 processes" in output
    assert state_of(two)["global_step"] == 4
    ours, theirs = (state_of(run)["state_dict"] for run in (one, two))
    changed = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert len(changed) > len(ours) / 2  # the other process's gradients have an effect


def test_shards_in_place_of_folders(pictures: Path, tmp_path: Path) -> None:
    shard = tmp_path / "photos-000000.tar"
    with tarfile.open(shard, "w") as tar:
        for path in sorted((pictures / "train" / "photos").iterdir()):
            tar.add(path, path.name)
    source = f"data.sources=[{{shards: '{shard}', weight: 1}}]"
    folders = "+data.weights={photos: 1}"  # as in the experiments
    output = train(
        pictures,
        tmp_path / "run",
        "steps=3",
        "data=webdataset",
        source,
        folders,
        "data.workers=0",
        "data.shuffle=2",
    )
    assert state_of(tmp_path / "run")["global_step"] == 3
    assert "skipped broken" in output
    export(tmp_path / "run", tmp_path / "shards.safetensors", "--pictures", "2")
    assert f"{shard} 1" in (tmp_path / "shards.md").read_text()


def test_an_adapter_run_exports(
    pictures: Path, tmp_path: Path, data_folder: Path, photo: NDArray[np.uint8]
) -> None:
    """An adapter for shipped weights is exported and found by its tower; others refuse it."""
    from codec.errors import WrongAdapter
    from codec.tokens.adapters import load_adapter
    from codec.towers import load_tower

    weights = data_folder / "weights" / "deit_tiny_patch16_224.safetensors"
    if not weights.is_file():
        pytest.skip("DeiT-Tiny's weights are missing")
    run, target = tmp_path / "run", tmp_path / "adapter.safetensors"
    shipped = ROOT / "checkpoints" / "small-mse.safetensors"
    settings = ("experiment=adapter", "model=small", f"start={shipped}", f"tower.weights={weights}")
    train(pictures, run, *settings, "steps=2", "data.batch=2", "data.size=128")
    export(run, target, "--what", "A test.", "--limits", "None.")
    assert "A test." in target.with_suffix(".md").read_text()
    tower = load_tower("timm:deit_tiny_patch16_224", str(weights))
    cotam = codec.load("small-mse", "cpu")
    tokens = cotam.decode_tokens(
        cotam.encode(photo, tool="learned", quality=40), tower, adapter=target
    )
    assert tokens.shape == (1, 197, 192)
    other = codec.load("small", "cpu")
    with pytest.raises(WrongAdapter):
        other.decode_tokens(other.encode(photo, tool="learned", quality=40), tower, adapter=target)
    deeper = (
        "experiment=adapter_last",
        "model=small",
        f"start={target}",
        f"tower.weights={weights}",
        "stage.replays=1",
    )
    train(pictures, tmp_path / "last", *deeper, "steps=3", "data.batch=2", "data.size=128")
    export(tmp_path / "last", tmp_path / "both.safetensors")
    both, first = load_adapter(tmp_path / "both.safetensors"), load_adapter(target)
    assert sorted(both.networks) == [-1, 0]
    torch.testing.assert_close(both.networks[0].state_dict(), first.networks[0].state_dict())
    assert both.networks[-1].head.weight.any()
    card = (tmp_path / "both.md").read_text()
    assert "The embedding**: 2 steps" in card
    assert "The tokens after the final norm**: 3 steps" in card
