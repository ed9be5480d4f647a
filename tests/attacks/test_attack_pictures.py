"""Every picture that Pillow decodes can be encoded, and looks the same through all interfaces."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

import codec
from codec.errors import BadPicture, CodecError, TooLarge
from codec.io import compose, exif, formats, images, metadata
from tests.attacks import pictures
from tests.conftest import ROOT, psnr

LIMIT = 1 << 24
TOY = ROOT / "tests" / "golden" / "toy.safetensors"
WAYS_IN = ("object", "file", "bytes", "stream", "path", "row")


@pytest.fixture(scope="module")
def toy() -> codec.Codec:
    return codec.load(TOY, "cpu")


def png(image: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("kind", pictures.KINDS)
def test_odd_metadata_never_costs_the_pixels(kind: str, toy: codec.Codec) -> None:
    random = Random(int(os.environ.get("COTAM_FUZZ_SEED", "0")))
    decoded = 0
    for number in range(60):
        data = pictures.with_odd_metadata(kind, random)
        if not pictures.pillow_decodes(data):
            continue
        decoded += 1
        wish = random.choice(({"tool": "learned"}, {"tool": "screen"}, {"lossless": True}))
        file = toy.encode(data, keep=random.choice(metadata.KEEP), **wish)
        back = toy.decode_full(file).picture
        suffix = (".png", ".jpg", ".tif", ".webp")[number % 4]
        images.save(back, io.BytesIO(), suffix)
        assert len(back.exif or b"") <= exif.LIMIT_BYTES
        assert len(back.icc or b"") <= metadata.ICC_LIMIT_BYTES
    assert decoded > 20


@pytest.mark.parametrize("mode", pictures.MODES)
def test_a_picture_of_any_mode_is_read_as_a_person_sees_it(mode: str, tmp_path: Path) -> None:
    image, wanted = pictures.in_mode(mode)
    own = images.shown(images.from_any(image, LIMIT)).astype(int)
    assert np.abs(own - wanted).max() <= 3
    suffixes = [s for s in (".png", ".tif") if _can_save(image, s)]
    for suffix in suffixes:
        path = tmp_path / f"a{suffix}"
        image.save(path)
        data = path.read_bytes()
        for source in (data, path, str(path), io.BytesIO(data), {"bytes": data, "path": None}):
            again = images.read_shown(source, LIMIT).astype(int)
            assert np.abs(again - wanted).max() <= 3, (mode, suffix)


@pytest.mark.parametrize("mode", pictures.MODES)
def test_a_picture_of_any_mode_is_lossless_where_that_is_asked_for(
    mode: str, toy: codec.Codec
) -> None:
    image, _ = pictures.in_mode(mode)
    read = images.from_any(image, LIMIT)
    back = toy.decode_full(toy.encode(image, lossless=True)).picture
    np.testing.assert_array_equal(back.pixels, read.pixels)
    assert (back.alpha is None) == (read.alpha is None)
    if read.alpha is not None:
        np.testing.assert_array_equal(back.alpha, read.alpha)


def _can_save(image: Image.Image, suffix: str) -> bool:
    try:
        image.save(io.BytesIO(), Image.registered_extensions()[suffix])
        return True
    except (OSError, ValueError, KeyError):
        return False


@pytest.fixture(scope="module")
def logo() -> Image.Image:
    """Black text with soft edges on a transparent background."""
    alpha = np.zeros((64, 96), np.uint8)
    alpha[20:40, 10:80] = 255
    alpha[40:44, 10:80] = 128
    return Image.fromarray(np.dstack([np.zeros((64, 96, 3), np.uint8), alpha]))


@pytest.mark.parametrize("suffix", sorted(formats.SUFFIXES))
def test_transparency_looks_the_same_in_every_format(suffix: str, logo: Image.Image) -> None:
    if formats.written_format(suffix) in (None, "PDF"):
        pytest.skip("not written, or not read again")
    wanted = images.shown(images.from_pil(logo, LIMIT)).astype(int)
    stream = io.BytesIO()
    images.save(images.from_pil(logo, LIMIT), stream, suffix)
    seen = images.read_shown(stream.getvalue(), LIMIT).astype(int)
    assert np.abs(seen - wanted).mean() < 2
    assert seen[0, 0].min() > 250


def test_a_logo_is_composed_on_every_way_out(cotam: codec.Codec, logo: Image.Image) -> None:
    from codec.integrations.data_url import data_url

    file = cotam.encode(logo, quality=90)
    white = cotam.decode(file, output="array")
    assert white[0, 0].tolist() == [255, 255, 255]
    assert white[30, 40].max() < 30
    tensor = cotam.decode(file, output="tensor").numpy().transpose(1, 2, 0)
    np.testing.assert_allclose(tensor, white / 255, atol=1e-6)
    for suffix in (".png", ".jpg", ".webp"):
        url = data_url(file, suffix)
        sent = images.read_shown(base64.b64decode(url.partition(",")[2]), LIMIT)
        assert psnr(sent, white) > 30
    yellow = cotam.decode(file, output="array", background="#ffee00")
    assert yellow[0, 0].tolist() == [255, 238, 0]
    with pytest.raises(codec.BadArgument, match="background"):
        cotam.decode(file, output="array", background="no colour")


def test_colours_that_nobody_sees_cost_nothing(toy: codec.Codec) -> None:
    pixels = pictures.scene(96, 64)
    alpha = np.zeros(pixels.shape[:2], np.uint8)
    alpha[:, 48:] = 200
    noise = pixels.copy()
    noise[:, :48] = np.random.default_rng(0).integers(0, 256, (64, 48, 3))
    files = [toy.encode(Image.fromarray(np.dstack([p, alpha]))) for p in (pixels, noise)]
    assert files[0] == files[1]
    kept = images.from_pil(Image.fromarray(np.dstack([noise, alpha])), LIMIT)
    np.testing.assert_array_equal(kept.pixels, noise)  # the reader itself removes nothing
    opaque = Image.fromarray(np.dstack([pixels, np.full_like(alpha, 255)]))
    assert toy.encode(opaque) == toy.encode(pixels)


def test_hidden_pixels_take_the_colour_of_what_is_near() -> None:
    pixels = np.zeros((5, 7, 3), np.uint8)
    pixels[:, :3] = (200, 10, 10)
    alpha = np.zeros((5, 7), np.uint8)
    alpha[:, :3] = 255
    assert (compose.without_hidden(pixels, alpha) == (200, 10, 10)).all()
    np.testing.assert_array_equal(compose.without_hidden(pixels, None), pixels)


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(1, 9))
def test_orientation_is_applied_once_on_every_way_in(turn: int, tmp_path: Path) -> None:
    import codec.integrations.pillow

    tag = Image.Exif()
    tag[exif.ORIENTATION] = turn
    stored = Image.fromarray(pictures.scene())
    path = tmp_path / "a.png"
    stored.save(path, exif=tag)
    with Image.open(path) as opened:
        wanted = np.asarray(ImageOps.exif_transpose(opened))
    with Image.open(path) as opened:
        opened.save(tmp_path / "a.ctm", exif=opened.getexif(), model=str(TOY))
    with Image.open(path) as opened:
        sources = (path, path.read_bytes(), opened, io.BytesIO(path.read_bytes()))
        for source in sources:
            picture = images.from_any(source, LIMIT)
            np.testing.assert_array_equal(picture.pixels, wanted)
            assert exif.orientation(exif.opened(picture.exif)) == 1
    bare = images.from_pil(stored, LIMIT, tag)
    np.testing.assert_array_equal(bare.pixels, wanted)
    toy = codec.load(TOY, "cpu")
    assert toy.decode((tmp_path / "a.ctm").read_bytes()).size == wanted.shape[1::-1]


def test_tiff_and_webp_turn_once_too(tmp_path: Path) -> None:
    tag = Image.Exif()
    tag[exif.ORIENTATION] = 6
    for kind in ("TIFF", "WEBP", "JPEG"):
        stream = io.BytesIO()
        options = {} if kind == "TIFF" else {"quality": 100}
        Image.fromarray(pictures.scene()).save(stream, kind, exif=tag, **options)
        picture = images.load(stream.getvalue(), LIMIT)
        assert picture.pixels.shape == (47, 33, 3)
        assert psnr(picture.pixels, np.rot90(pictures.scene(), -1)) > 25


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.linspace(0, 1, 256, dtype=np.float32), 255),
        (np.linspace(0, 0.5, 256, dtype=np.float32), 128),
        (np.linspace(0, 10, 256, dtype=np.float32), 255),
        (np.arange(256, dtype=np.float32), 255),
        (np.arange(200, dtype=np.float32), 199),
        (np.linspace(0, 65535, 256, dtype=np.float32), 255),
        (np.linspace(-1, 1, 256, dtype=np.float32), 255),
        (np.array([0, 1e30, np.nan, np.inf], np.float32), 255),
        (np.linspace(0, 65535, 256).astype(np.uint16), 255),
        (np.linspace(0, 255, 256).astype(np.int32), 255),
        (np.linspace(0, 65535, 256).astype(np.int32), 255),
        (np.linspace(0, 2**30, 256).astype(np.int32), 255),
    ],
)
def test_deep_samples_are_scaled_by_the_documented_rule(
    values: NDArray[np.generic], wanted: int
) -> None:
    picture = images.from_pil(Image.fromarray(np.tile(values, (4, 1))), LIMIT)
    assert picture.pixels.max() == wanted
    assert picture.pixels[0, 0, 0] == 0
    (note,) = picture.notes
    kind = "float" if values.dtype.kind == "f" else f"{values.dtype.itemsize * 8}-bit"
    assert kind in note


def test_a_transparent_colour_counts_at_any_depth() -> None:
    deep = np.linspace(0, 65535, 64).astype(np.uint16)[None].repeat(3, 0)
    data = png(Image.fromarray(deep), transparency=int(deep[0, 20]))
    picture = images.load(data, LIMIT)
    assert picture.alpha is not None
    assert np.flatnonzero(picture.alpha[0] == 0).tolist() == [20]
    for bits, key in ((1, 1), (2, 2), (4, 9)):
        levels = 2**bits
        grey = np.arange(64, dtype=np.uint8) % levels * (255 // (levels - 1))
        image = Image.fromarray(grey[None].repeat(3, 0))
        data = _small_png(image, bits, key)
        picture = images.load(data, LIMIT)
        assert picture.alpha is not None, bits
        assert ((picture.alpha[0] == 0) == (np.arange(64) % levels == key)).all()


def _small_png(image: Image.Image, bits: int, key: int) -> bytes:
    """A grey PNG of fewer bits with a transparent sample; Pillow itself writes 8."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    width, height = image.size
    samples = np.asarray(image) // (255 // (2**bits - 1))
    planes = np.unpackbits(samples[:, :, None].astype(np.uint8), axis=2)[:, :, 8 - bits :]
    packed = np.packbits(planes.reshape(height, -1), axis=1)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    head = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"tRNS", struct.pack(">H", key))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def wide_profile() -> bytes:
    """A matrix profile with Adobe RGB's primaries and gamma, computed because no file has one."""
    sound = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    colorants = {
        b"rXYZ": (0.60974, 0.31111, 0.01947),
        b"gXYZ": (0.20528, 0.62567, 0.06087),
        b"bXYZ": (0.14919, 0.06322, 0.74457),
    }  # Adobe RGB (1998), 4.3.1.1, adapted to D50
    count = int.from_bytes(sound[128:132], "big")
    for index in range(count):
        entry = 132 + 12 * index
        name = bytes(sound[entry : entry + 4])
        at = int.from_bytes(sound[entry + 4 : entry + 8], "big")
        for place, value in enumerate(colorants.get(name, ())):
            fixed = round(value * 65536).to_bytes(4, "big")
            sound[at + 8 + 4 * place : at + 12 + 4 * place] = fixed
    return bytes(sound)


def test_a_wide_gamut_reaches_a_tower_as_srgb_and_stays_in_the_file(cotam: codec.Codec) -> None:
    profile = wide_profile()
    pixels = np.full((64, 64, 3), (40, 200, 60), np.uint8)
    file = cotam.encode(png(Image.fromarray(pixels), icc_profile=profile), quality=95)
    back = cotam.decode(file)
    assert back.info["icc_profile"] == profile
    assert np.abs(np.asarray(back).astype(int) - pixels).mean() < 4
    own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    wanted = np.asarray(ImageCms.profileToProfile(back, own, ImageCms.createProfile("sRGB")))
    seen = cotam.decode(file, output="array")
    np.testing.assert_array_equal(seen, wanted)
    assert np.abs(seen.astype(int) - np.asarray(back)).max() > 20
    bare = cotam.decode(cotam.encode(png(back, icc_profile=profile), quality=95, keep="none"))
    assert "icc_profile" not in bare.info
    exact = cotam.encode_full(png(back, icc_profile=profile), lossless=True, keep="none")
    assert any("sRGB" in note for note in exact.notes)  # the pixels differ from those of the source
    kept = cotam.encode_full(png(back, icc_profile=profile), lossless=True)
    assert not any("sRGB" in note for note in kept.notes)
    assert np.abs(np.asarray(bare).astype(int) - wanted).mean() < 4


def test_a_huge_profile_is_applied_in_place_of_being_kept() -> None:
    profile = wide_profile()
    huge = profile + bytes(70_000)
    data = png(Image.fromarray(pictures.scene()), icc_profile=huge)
    picture = images.load(data, LIMIT)
    small = images.load(png(Image.fromarray(pictures.scene()), icc_profile=profile), LIMIT)
    assert picture.icc is None
    assert any("applied and dropped" in note for note in picture.notes)
    np.testing.assert_array_equal(picture.pixels, images.shown(small))


@pytest.mark.slow
@pytest.mark.parametrize("keep", metadata.KEEP)
def test_what_is_kept_of_location_and_maker_notes(keep: str, toy: codec.Codec) -> None:
    tag = Image.Exif()
    tag[0x010F] = "maker"
    tag[exif.GPS] = {1: "N", 2: (48.0, 8.0, 3.0)}
    tag[exif.DIRECTORY] = {0x9003: "2024:01:01 00:00:00", exif.MAKER_NOTE: b"x" * 40_000}
    data = png(Image.fromarray(pictures.scene()), exif=tag)
    full = toy.encode_full(data, keep=keep)
    back = exif.opened(toy.decode(full.data).info.get("exif"))
    if keep == "none":
        assert back is None
        assert len(full.data) < 2000
        return
    assert back is not None
    assert back[0x010F] == "maker"
    inner = back.get_ifd(exif.DIRECTORY)
    assert inner[0x9003] == "2024:01:01 00:00:00"
    assert (exif.GPS in back) == (exif.MAKER_NOTE in inner) == (keep == "all")
    assert any("location" in note for note in full.notes) == (keep == "safe")
    if keep == "all":
        with pytest.raises(codec.TargetTooSmall, match="keep"):
            toy.encode(data, target_bytes="20KB", keep="all")
        assert len(toy.encode(data, target_bytes="20KB")) <= 20_000


def test_an_api_gets_no_metadata() -> None:
    from codec.integrations.data_url import data_url

    tag = Image.Exif()
    tag[0x010F] = "maker"
    tag[exif.GPS] = {1: "N", 2: (48.0, 8.0, 3.0)}
    picture = png(Image.fromarray(pictures.scene()), exif=tag, icc_profile=wide_profile())
    file = codec.load("tiny", "cpu").encode(picture, keep="all")
    for suffix in (".png", ".jpg", ".webp"):
        sent = base64.b64decode(data_url(file, suffix).partition(",")[2])
        with Image.open(io.BytesIO(sent)) as image:
            assert not dict(image.getexif())
            assert "icc_profile" not in image.info


@pytest.mark.parametrize(
    ("kind", "note"), [("MPO", "2 pictures"), ("TIFF", "2 pages"), ("GIF", "animated input")]
)
def test_several_pictures_in_a_file_are_called_what_they_are(kind: str, note: str) -> None:
    frames = [Image.fromarray(pictures.scene()), Image.fromarray(pictures.scene()[::-1])]
    stream = io.BytesIO()
    frames[0].save(stream, kind, save_all=True, append_images=frames[1:])
    picture = images.load(stream.getvalue(), LIMIT)
    assert any(note in text and "first" in text for text in picture.notes)
    assert any("animated" in text for text in picture.notes) == (kind == "GIF")


def test_no_program_runs_on_a_strangers_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostScript is refused under any file name, and the fake Ghostscript on PATH never runs."""
    mark = tmp_path / "mark"
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {mark}\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    data = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "a.jpg").write_bytes(data)
    for source in (data, tmp_path / "a.jpg", io.BytesIO(data)):
        with pytest.raises(BadPicture, match="PostScript"):
            images.from_any(source, LIMIT)
    with Image.open(tmp_path / "a.jpg") as opened, pytest.raises(BadPicture, match="EPS"):
        images.from_any(opened, LIMIT)
    assert not mark.exists()


def test_the_formats_are_those_that_pillow_decodes_itself() -> None:
    Image.init()
    kinds = Image.registered_extensions().items()
    assert {suffix for suffix, kind in kinds if kind in formats.READ} == set(formats.SUFFIXES)
    assert set(Image.OPEN) - {"CTM"} <= formats.READ | formats.REFUSED
    assert not formats.READ & formats.REFUSED


# The modules that may call Image.open: the reader of pictures, the reader of maps, and modules that
# open only training pictures or files that they have just written.
OPENERS = {
    "codec/io/formats.py",
    "codec/guidance/importance.py",
    "codec/evaluation/codecs/pillow.py",
    "training/fit/choice.py",
    "benchmarks/screens.py",
    "benchmarks/screen_costs.py",
    # These open files that they wrote themselves.
    "codec/evaluation/harness/recoder.py",
    "benchmarks/front_picture.py",
    "benchmarks/install/probe.py",
    "benchmarks/install/speed.py",
    "benchmarks/web/measure.py",
    "benchmarks/streams/measure.py",
    "benchmarks/streams/systems.py",
}


def test_pictures_are_opened_in_one_place() -> None:
    """A second reader would scale depths, rotate and composite in a different way."""
    sources = [
        p for room in ("codec", "training", "benchmarks") for p in (ROOT / room).rglob("*.py")
    ]
    opening = {p.relative_to(ROOT).as_posix() for p in sources if "Image.open(" in p.read_text()}
    quoted = {"codec/integrations/pillow.py"}
    assert opening - quoted <= OPENERS


def test_training_reads_what_encoding_reads(tmp_path: Path) -> None:
    from training.data.pictures import list_pictures, read_picture

    deep = np.linspace(0, 65535, 96).astype(np.uint16)[None].repeat(70, 0)
    cases = {"deep.png": Image.fromarray(deep), "f.tif": Image.fromarray(deep.astype(np.float32))}
    image, _ = pictures.in_mode("RGBA")
    cases |= {"alpha.png": image, "cmyk.jpg": pictures.in_mode("CMYK")[0]}
    for name, one in cases.items():
        one.save(tmp_path / name)
        read = read_picture(tmp_path / name)
        assert read is not None
        np.testing.assert_array_equal(read, images.read_shown(tmp_path / name, LIMIT))
    assert len(list_pictures(tmp_path)) == len(cases)


def bomb() -> bytes:
    """A PNG that claims 900 million pixels."""
    import struct
    import zlib

    head = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    out = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks:
        out += (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )
    return out


def test_a_bad_picture_is_skipped_and_named_in_training_and_validation(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from training.data.folder import RandomCrops
    from training.data.pictures import read_picture
    from training.validation import readable

    good = Image.fromarray(pictures.scene(96, 80))
    good.save(tmp_path / "b.png")
    (tmp_path / "a.png").write_bytes(bomb())
    stream = io.BytesIO()
    good.save(stream, "JPEG")
    (tmp_path / "c.jpg").write_bytes(stream.getvalue()[:300])
    (tmp_path / "d.png").write_bytes(b"")
    with pytest.raises(TooLarge):
        images.load(tmp_path / "a.png", 1 << 28)
    for name in ("a.png", "c.jpg", "d.png"):
        assert read_picture(tmp_path / name) is None
        assert name in caplog.text
    crops = RandomCrops([tmp_path], [1], 8, 64)
    assert all(crop.shape == (3, 64, 64) for crop in (crops[i] for i in range(8)))
    assert 0 < crops.skipped <= 3
    (only,) = readable(sorted(tmp_path.iterdir()), 1)
    np.testing.assert_array_equal(only, np.asarray(good))


def test_a_full_disk_for_temporary_files_is_not_the_pictures_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import tempfile

    from codec import memory

    def full(*_: object, **__: object) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(memory, "SPILL_BYTES", 1)
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(CodecError, match="TMPDIR"):
        images.from_any(png(Image.fromarray(pictures.scene())), LIMIT)
