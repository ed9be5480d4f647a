"""Learned codecs of others, whose weights users provide: real bytes, tested with random weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from codec.errors import BadArgument, UnknownModel
from codec.evaluation import codecs
from codec.evaluation.codecs import by_checkpoint
from tests.conftest import run_cotam

models = pytest.importorskip("compressai.models", reason="compressai is missing")
zoo = pytest.importorskip("compressai.zoo")
trees = st.recursive(st.binary(max_size=9), lambda part: st.lists(part, max_size=4), max_leaves=9)


@pytest.fixture(scope="module")
def elic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a narrow ELIC, as its class saves it."""
    torch.manual_seed(1)
    place = tmp_path_factory.mktemp("elic") / "elic.pth.tar"
    model = models.Elic2022Official(N=32, M=320)
    torch.save({"state_dict": model.state_dict()}, place)
    return place


@settings(max_examples=40, deadline=None)
@given(st.lists(trees, max_size=4), st.integers(0, 255), st.integers(1, 65535))
def test_any_nesting_of_strings_comes_back(strings: list, quality: int, height: int) -> None:
    shape = {"y": [(16, 4, 8), (304, 4, 8)], "hyper": torch.Size((1, 2))}
    data = by_checkpoint.boxed(quality, (height, 9), {"strings": strings, "shape": shape})
    found = by_checkpoint.unboxed(data)
    assert found[:3] == (quality, (height, 9), strings)
    assert found[3] == {"y": [(16, 4, 8), (304, 4, 8)], "hyper": (1, 2)}


def test_a_checkpoint_belongs_to_the_model_before_it(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for place in ("my/weights.pth.tar", "random", "weights.safetensors", str(tmp_path / "folder")):
        name = f"compressai:mbt2018-mean,{place}"
        assert codecs.names(f"cotam,{name},jpeg") == ("cotam", name, "jpeg")
    assert codecs.names("compressai:mbt2018-mean,jpeg") == ("compressai:mbt2018-mean", "jpeg")
    assert codecs.names("elic:a.pth,dcae:models.DCAE@b.pth") == (
        "elic:a.pth",
        "dcae:models.DCAE@b.pth",
    )


@pytest.mark.slow
def test_elic_writes_what_its_class_writes(elic: Path, small: NDArray[np.uint8]) -> None:
    one = codecs.codec_under_test(f"elic:{elic}")
    assert one.trained
    assert one.qualities == (1.0,)
    assert "weights" in one.identity
    data = one.encode(small, 1)
    decoded = one.decode(data)
    model = models.Elic2022Official(N=32, M=320)
    model.load_state_dict(torch.load(elic, weights_only=True)["state_dict"])
    model.eval().update(force=True)
    padded = np.pad(small, ((0, 32), (0, 62), (0, 0)), mode="edge").transpose(2, 0, 1)
    with torch.inference_mode():
        coded = model.compress(torch.from_numpy(padded.copy())[None].float() / 255)
        x_hat = model.decompress(coded["strings"], coded["shape"])["x_hat"]
    expected = x_hat[0, :, :96, :130].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0)
    np.testing.assert_array_equal(decoded, expected.numpy())
    payload = sum(len(one) for group in coded["strings"] for one in group)
    assert 0 < len(data) - payload < 200


@pytest.mark.slow
def test_a_folder_has_a_quality_for_each_file(tmp_path: Path, small: NDArray[np.uint8]) -> None:
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = zoo.image_models["bmshj2018-factorized"](1, pretrained=False)
        torch.save(model.state_dict(), tmp_path / f"{seed}.pth")
    one = codecs.codec_under_test(f"compressai:bmshj2018-factorized,{tmp_path}")
    assert one.qualities == (1.0, 2.0)
    first, second = (one.encode(small, quality) for quality in one.qualities)
    assert first != second
    assert one.decode(first).shape == small.shape
    with pytest.raises(UnknownModel, match="holds no weights"):
        codecs.codec_under_test(f"elic:{tmp_path / '1.pth'}")


def test_places_that_are_wrong_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(b"no weights")
    for name, error in (
        (f"elic:{tmp_path / 'none.pth'}", UnknownModel),
        (f"elic:{tmp_path / 'x.pth'}", UnknownModel),
        (f"compressai:mbt2018-mean,{tmp_path}/none.pth", UnknownModel),
        (f"compressai:none,{tmp_path}/x.pth", BadArgument),
        ("dcae:no_such_module.DCAE@random", BadArgument),
        ("dcae:json.DCAE@random", BadArgument),
    ):
        with pytest.raises(error) as caught:
            codecs.codec_under_test(name)
        assert "\n" not in str(caught.value)


def test_dcae_takes_the_class_that_it_is_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small: NDArray[np.uint8]
) -> None:
    """The interface of DCAE's class: sides are multiples of 128; there are two lists of strings."""

    class Toy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def update(self, force: bool = False) -> None:
            """Do nothing: this model has no tables."""

        def compress(self, x: torch.Tensor) -> dict:
            assert x.shape[2] % 128 == x.shape[3] % 128 == 0
            pixels = (x[0] * 255).round().byte().numpy().tobytes()
            return {"strings": [[pixels], [b"z"]], "shape": x.shape[-2:]}

        def decompress(self, strings: list, shape: tuple) -> dict:
            pixels = np.frombuffer(strings[0][0], np.uint8).reshape(1, 3, *shape)
            return {"x_hat": self.scale * torch.from_numpy(pixels.copy()).float() / 255}

    monkeypatch.setitem(sys.modules, "toy_dcae", ModuleType("toy_dcae"))
    monkeypatch.setattr(sys.modules["toy_dcae"], "DCAE", Toy, raising=False)
    torch.save({"module.scale": torch.ones(())}, tmp_path / "dcae.pth")
    one = codecs.codec_under_test(f"dcae:toy_dcae.DCAE@{tmp_path / 'dcae.pth'}")
    np.testing.assert_array_equal(one.decode(one.encode(small, 1)), small)
    assert SimpleNamespace(**vars(one)).trained


@pytest.mark.slow
def test_random_weights_have_bytes_and_no_scores(tmp_path: Path, small: NDArray[np.uint8]) -> None:
    Image.fromarray(small).save(tmp_path / "a.png")
    named = "jpeg,compressai:bmshj2018-factorized,random"
    done = run_cotam(
        "eval", tmp_path / "a.png", "--codecs", named, "--metrics", "psnr", "--out", tmp_path / "r"
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "r" / "results.json").read_text())
    jpeg, learned = results["codecs"]
    assert "psnr-rgb" in jpeg["results"]
    assert "psnr-rgb" not in learned["results"]
    assert min(learned["results"]["bpp"]) > 0
    assert "random weights" in learned["description"]
    assert "bmshj2018" not in str(results["bd_rate"])
    page = (tmp_path / "r" / "index.html").read_text()
    assert "There is nothing to compare" in page
