"""Pictures larger than memory: tiles, bands and arrays on disk give the same result."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

import codec
from codec import memory
from codec.bitstream import rans
from codec.cli import jobs
from codec.coding import pipeline, tiled_backend, tiling
from codec.coding.latent_grid import step_of
from codec.guidance.rate_estimate import energies
from codec.guidance.student import small_copy
from codec.io import images


def gradient(height: int, width: int) -> NDArray[np.uint8]:
    """A smooth picture, in which seams would be visible."""
    y, x = np.mgrid[:height, :width]
    return np.stack(
        [255 * x / width, 255 * y / height, 127 + 100 * np.sin((x + y) / 90)], 2
    ).astype(np.uint8)


def as_a_huge_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the codec treat small pictures as huge: tiles, bands, arrays on disk, symbol parts."""
    monkeypatch.setattr(tiled_backend, "LARGEST", 5)
    monkeypatch.setattr(tiled_backend, "PRIOR_TILE", 3)
    monkeypatch.setattr(tiling, "TILE", 9)
    monkeypatch.setattr(memory, "SPILL_BYTES", 1 << 10)
    monkeypatch.setattr(memory, "BAND_BYTES", 1 << 14)
    monkeypatch.setattr(rans, "PART", 1000)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["photo", "gradient"])
@pytest.mark.parametrize("model", ["small", "small-mse", "tiny"])
def test_tiles_leave_no_seams(
    kind: str, model: str, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = photo[:200, 100:400] if kind == "photo" else gradient(203, 310)
    cotam = codec.load(model, "cpu")
    qp_map = np.array([[20, 50, 33], [45, 15, 60]])
    whole = [
        cotam.encode_full(picture, tool="learned", quality=60, guide="uniform"),
        cotam.encode_full(picture, qp_map=qp_map),
    ]
    decoded = [cotam.decode(encoded.data, output="array") for encoded in whole]
    bits = cotam.decode_full(whole[1].data, want_bits=True).bits
    as_a_huge_one(monkeypatch)
    for encoded, wanted in zip(whole, decoded):
        again = cotam.decode_full(encoded.data, want_bits=True)
        np.testing.assert_array_equal(again.y_hat, encoded.y_hat)
        np.testing.assert_allclose(again.picture.pixels.astype(int), wanted, atol=1)
    np.testing.assert_allclose(again.bits, bits, rtol=1e-4)
    tiled = cotam.encode_full(picture, tool="learned", quality=60, guide="uniform")
    assert (
        np.abs(tiled.y_hat - whole[0].y_hat) > 0.5
    ).mean() < 0.001  # values halfway between two integers may be rounded differently
    again = cotam.decode(cotam.encode(picture, qp_map=qp_map), output="array")
    assert (np.abs(again.astype(int) - decoded[1]) <= 1).mean() > 0.999


@pytest.mark.slow
def test_bands_of_symbols_touch_bands_of_latents(
    photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the past, reading a band of the preview's channels read all latents of a huge picture."""
    touched = []

    def watched(y: NDArray[np.float32], step: int) -> NDArray[np.float32]:
        touched.append((y.shape[0], y.strides[0]))
        return step_of(y, step)

    as_a_huge_one(monkeypatch)
    monkeypatch.setattr(pipeline, "step_of", watched)
    cotam = codec.load("small", "cpu")
    cotam.encode(photo, tool="learned", quality=60, guide="uniform")
    row = max(stride for _, stride in touched)
    assert row > memory.BAND_BYTES
    assert {rows for rows, stride in touched if stride == row} == {2}


def test_a_picture_on_disk_is_read_and_written_in_bands(
    photo: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alpha = np.tile(np.arange(photo.shape[1], dtype=np.uint8), (photo.shape[0], 1))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010E] = "a cat"
    as_a_huge_one(monkeypatch)
    for name, channels in {
        "RGB": photo,
        "RGBA": np.dstack([photo, alpha]),
        "L": photo[..., 0],
        "LA": None,
    }.items():
        image = (
            Image.merge("LA", (Image.fromarray(photo[..., 0]), Image.fromarray(alpha)))
            if channels is None
            else Image.fromarray(channels)
        )
        image.save(tmp_path / "a.png", icc_profile=profile if name != "L" else None, exif=exif)
        picture = images.load(tmp_path / "a.png", 1 << 30)
        assert isinstance(picture.pixels, np.memmap)
        np.testing.assert_array_equal(picture.pixels, np.asarray(image.convert("RGB")))
        with open(tmp_path / "b.png", "wb") as stream:
            images.save(picture, stream, ".png")
        with Image.open(tmp_path / "b.png") as again:
            assert again.mode == name
            np.testing.assert_array_equal(np.asarray(again), np.asarray(image))
            assert again.info.get("icc_profile") == (profile if name != "L" else None)
            assert again.getexif()[0x010E] == "a cat"


def test_a_result_goes_to_the_disk_as_it_is_written(tmp_path: Path) -> None:
    """In the past, the PNG file of a large picture was kept in memory until it was complete."""

    def put(stream: IO[bytes]) -> None:
        for megabytes in (1, 2, 3):
            stream.write(bytes(1 << 20))
            stream.flush()
            assert os.fstat(stream.fileno()).st_size >> 20 == megabytes
        stream.seek(0)  # Pillow does this for some formats
        stream.write(b"first")

    assert jobs.write(str(tmp_path / "a.png"), put, True) == 3 << 20
    assert (tmp_path / "a.png").read_bytes() == b"first" + bytes((3 << 20) - 5)


def test_guidance_in_bands_is_the_same(
    photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    large = np.asarray(Image.fromarray(photo).resize((1100, 830)))
    seen = small_copy(large), energies(large)
    as_a_huge_one(monkeypatch)
    np.testing.assert_array_equal(small_copy(large), seen[0])
    np.testing.assert_allclose(energies(large), seen[1], rtol=1e-4, atol=1e-3)


def test_a_disk_without_room_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(memory.os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        memory.empty((memory.SPILL_BYTES,), np.uint8)


def test_spans_cover_a_side() -> None:
    for length in (1, 95, 96, 97, 145, 1000):
        found = tiling.spans(length, 7)
        assert found[0].start == found[0].first == 0
        assert found[-1].stop == found[-1].last == length
        assert all(a.stop == b.start for a, b in pairwise(found))
        assert all(0 < s.stop - s.start <= tiling.TILE for s in found)


def test_a_margin_is_as_wide_as_a_transform_looks(cotam: codec.Codec) -> None:
    """A change beyond the margin does not change what the transforms compute before it."""
    analysis, synthesis = cotam.learned.pipeline.margins
    y = np.zeros((1, 4 * synthesis, cotam.learned.pipeline.layers[-1].stop), np.float32)
    y_far, y_near = y.copy(), y.copy()
    y_far[0, 2 * synthesis + 1] = y_near[0, synthesis + 1] = 40
    flat, far, near = (cotam.backend.synthesis(v, 40)[:, :16] for v in (y, y_far, y_near))
    np.testing.assert_array_equal(flat, far)
    assert near.shape == flat.shape
    pixels = np.full((16, 16 * 3 * analysis, 3), 100, np.uint8)
    changed = pixels.copy()
    changed[:, 16 * (analysis + 1) :] = 200
    np.testing.assert_array_equal(
        cotam.backend.analysis(pixels, 40)[:, 0], cotam.backend.analysis(changed, 40)[:, 0]
    )


def test_of_several_wishes_to_keep_freed_memory_the_largest_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the past, making a backend during training lowered the amount that training had set."""
    asked: dict[int, int] = {}
    monkeypatch.setattr(memory, "_kept_bytes", 0)
    monkeypatch.setattr(memory, "_of_c_library", lambda name: asked.__setitem__)
    memory.keep_freed_memory(2 * memory.KEPT_BYTES)
    memory.keep_freed_memory()
    assert asked[memory.M_TRIM_THRESHOLD] == 2 * memory.KEPT_BYTES
