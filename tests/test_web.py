"""The viewer's module in a real Chromium, compared with Python."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

import codec
from codec.bitstream import container, qp_map
from codec.bitstream.rans import Encoder
from codec.errors import CodecError
from codec.export import web
from codec.tokens.selection import select_tokens
from codec.tools import patch
from codec.weights import checkpoint
from tests import fuzz
from tests.browser import BLANK, Module, WebError, chromium, pixels_of, runtime, served
from tests.conftest import ROOT
from tests.test_patch_tool import random_patch
from tests.test_rans import TABLES

pytestmark = pytest.mark.slow
GOLDEN = ROOT / "tests" / "golden"
TOYS = ("toy", "toy-layers")
# Names of errors that a bad file can cause.
TYPED = {
    "Corrupt",
    "MissingReference",
    "NotACotamFile",
    "TooLarge",
    "Truncated",
    "UnsupportedVersion",
    "WrongModel",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def module(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Module]:
    """The module as it is in the package, without neural networks."""
    folder = tmp_path_factory.mktemp("module")
    web.write_module(folder, "page")
    (folder / "blank.html").write_text(BLANK)
    with served(folder) as address:
        page = browser.new_page()
        page.goto(f"{address}/blank.html")
        yield Module(page)
        page.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output of `cotam export --web` with four sets of weights; sources/ has no bundle."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("small", "tiny", *(GOLDEN / f"{toy}.safetensors" for toy in TOYS)):
        web.export(checkpoint.load(name), folder, runtime())
    (folder / "blank.html").write_text(BLANK)
    web.write_module(folder / "sources", "page")
    for part in ("models", "runtime"):
        (folder / "sources" / part).symlink_to(folder / part)
    return folder


@pytest.fixture(scope="module")
def networks(browser: Any, site: Path) -> Iterator[Module]:
    """The exported module."""
    with served(site) as address:
        page = browser.new_page()
        page.goto(f"{address}/blank.html")
        yield Module(page)
        page.close()


def by_python(data: bytes) -> NDArray[np.int64]:
    """Decode a file with Python: RGBA [H, W, 4]."""
    return np.asarray(codec_of(data).decode(data).convert("RGBA")).astype(int)


def codec_of(data: bytes) -> codec.Codec:
    """A codec with the weights that a file needs."""
    for toy in TOYS:
        cotam = codec.load(GOLDEN / f"{toy}.safetensors", "cpu")
        if codec.inspect(data).fingerprint == cotam.fingerprint:
            return cotam
    return codec.load_for(data, device="cpu")


def screen_files(photo: NDArray[np.uint8]) -> dict[str, bytes]:
    """Files of tools without networks: every layout, alpha, grey, odd sizes."""
    cotam = codec.load()
    clear = np.dstack([photo[:90, :131], np.tile(np.arange(131, dtype=np.uint8), (90, 1))])
    grey = Image.fromarray(photo[:77, :70]).convert("L")
    noise = np.random.default_rng(1).integers(0, 256, (40, 50, 3), np.uint8)
    few = noise[..., :1] // 64 * 60 * np.ones(3, np.uint8)
    pictures: dict[str, tuple[Any, dict[str, Any]]] = {
        "palette": (photo[:90, :131], {"tool": "palette", "quality": 40}),
        "exact photograph": (photo, {"lossless": True}),
        "exact alpha": (Image.fromarray(clear), {"lossless": True}),
        "exact noise": (noise, {"lossless": True}),
        "exact, few colours": (few, {"lossless": True}),
        "exact, two colours": (few // 200 * 255, {"lossless": True}),
        "exact grey": (grey, {"lossless": True}),
        "exact, one pixel": (photo[:1, :1], {"lossless": True}),
        "exact, a line": (photo[:1, :300], {"lossless": True}),
        "av1": (photo[:91, :131], {"tool": "av1", "quality": 60}),
        "av1, alpha": (Image.fromarray(clear), {"tool": "av1"}),
        "av1, grey": (grey, {"tool": "av1"}),
        "av1, one pixel": (photo[:1, :1], {"tool": "av1"}),
    }
    return {name: cotam.encode(picture, **how) for name, (picture, how) in pictures.items()}


def test_files_without_networks_are_those_of_python(
    module: Module, photo: NDArray[np.uint8]
) -> None:
    files = screen_files(photo)
    files |= {path.stem: path.read_bytes() for path in GOLDEN.glob("v2-[ap]*.ctm")}
    for name, data in files.items():
        off = int(np.abs(module.decode(data) - by_python(data)).max())
        assert off <= ("av1" in name), name


def test_a_scan_has_the_same_colours(module: Module, data_folder: Path) -> None:
    path = next((data_folder / "train" / "text" / "receipts").glob("*"), None)
    path = path or next((data_folder / "train" / "text").rglob("*.jpg"))
    with Image.open(path) as image:
        image.thumbnail((501, 501))
        data = codec.load().encode(image.convert("RGB"), tool="av1")
    assert np.abs(module.decode(data) - by_python(data)).max() <= 1


def test_orientation_is_applied(module: Module, photo: NDArray[np.uint8]) -> None:
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo[:60, :90]).save(stream, "JPEG", exif=exif.tobytes())
    data = codec.load().encode(stream.getvalue(), tool="palette", quality=80)
    found = module.decode(data)
    assert found.shape == (90, 60, 4)
    assert (found == by_python(data)).all()


def test_a_colour_profile_is_applied_where_asked(module: Module, photo: NDArray[np.uint8]) -> None:
    """A profile with red and blue swapped, made from the bytes of Pillow's sRGB profile."""
    icc = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = icc.index(b"rXYZ"), icc.index(b"bXYZ")
    icc[red : red + 4], icc[blue : blue + 4] = b"bXYZ", b"rXYZ"
    image = Image.fromarray(photo[:40, :60])
    stream = io.BytesIO()
    image.save(stream, "PNG", icc_profile=bytes(icc))
    data = codec.load().encode(stream.getvalue(), lossless=True)
    script = "return shown(await (await import('/cotam.js')).decodeCtm(datas[0], more))"
    stored = pixels_of(module.call(script, data, more={}))
    shown = pixels_of(module.call(script, data, more={"toSrgb": True}))
    assert (stored[..., :3] == photo[:40, :60]).all()
    wanted = codec.decode(data, output="array").astype(int)
    assert np.abs(wanted - photo[:40, :60]).max() > 20
    assert np.abs(shown[..., :3] - wanted).max() <= 2


@pytest.mark.parametrize(("name", "count"), [("screens", 6), ("tones", 5)])
def test_streams_are_those_of_python(module: Module, name: str, count: int) -> None:
    files = [(GOLDEN / "streams" / f"{name}-{n}.ctm").read_bytes() for n in range(count)]
    script = """const {CtmStream} = await import('/cotam.js');
      const stream = new CtmStream();
      const out = [];
      for (const data of datas) out.push(shown(await stream.decode(data)));
      return out;"""
    decoder = codec.StreamDecoder()
    for shown, data in zip(module.call(script, *files), files):
        assert (pixels_of(shown)[..., :3] == decoder.decode(data).pixels).all()
    with pytest.raises(WebError, match="MissingReference"):
        module.call(script, files[0], files[2])
    with pytest.raises(WebError, match="MissingReference"):
        module.decode(files[1])


def test_symbols_maps_and_patches_are_those_written(module: Module) -> None:
    random = np.random.default_rng(3)
    words, wanted, ids = [], [], []
    for spread in (0, 1, 7, 300, 9000):
        ids.append(random.integers(0, len(TABLES), 400).astype(np.uint8))
        wanted.append(
            np.rint(np.clip(random.laplace(0, spread or 1e-9, 400), -32000, 32000)).astype(np.int64)
        )
        encoder = Encoder(TABLES)
        encoder.push(wanted[-1], ids[-1])
        words.append(encoder.finish())
    script = """const {Tables, Decoder} = await import('/module/rans.js');
      const tables = new Tables(Uint16Array.from(more.frequencies), more.lengths);
      return datas.map((data, i) => {
        const decoder = new Decoder(tables, data);
        const symbols = [...decoder.pop(Uint8Array.from(more.ids[i]))];
        decoder.finish();
        return symbols;
      });"""
    more = {
        "frequencies": TABLES.frequencies.tolist(),
        "lengths": TABLES.lengths.tolist(),
        "ids": [part.tolist() for part in ids],
    }
    assert module.call(script, *words, more=more) == [part.tolist() for part in wanted]

    maps = [
        np.clip(np.rint(random.normal(0, spread, random.integers(1, 12, 2))) * unit, -60, 60)
        for spread in (0, 2, 20)
        for unit in (1, 4)
    ]
    coded = [qp_map.encode_offsets(one.astype(np.int64)) for one in maps]
    script = """const {decodeOffsets} = await import('/module/qp_map.js');
      return datas.map((data) => [...decodeOffsets(data, 99, 99).offsets]);"""
    assert module.call(script, *coded) == [one.ravel().tolist() for one in maps]

    sizes = [(int(h), int(w), int(c)) for h, w, c in random.integers(1, 14, (20, 3))]
    pictures = [random_patch(seed, *size) for seed, size in enumerate(sizes)]
    payloads = [patch.encode(picture) or b"" for picture in pictures]
    script = """const {decodePatch} = await import('/module/patch.js');
      return datas.map((data, i) => [...decodePatch(data, more[i][1], more[i][0])]);"""
    for picture, found in zip(pictures, module.call(script, *payloads, more=sizes)):
        assert (np.reshape(found, (*picture.shape[:2], 4))[..., :3] == picture).all()


def learned_files(photo: NDArray[np.uint8]) -> dict[str, bytes]:
    """Ten files of the learned tool and of the golden weights: every kind."""
    small, tiny = codec.load("small"), codec.load("tiny")
    clear = np.dstack([photo[:90, :131], np.tile(np.arange(131, dtype=np.uint8), (90, 1))])
    grey = Image.fromarray(photo[:77, :70]).convert("L")
    page = np.full((320, 320, 3), 255, np.uint8)
    page[::9, :100] = 40
    page[:192, 32:224] = photo[:192, 100:292]
    found = {path.stem: path.read_bytes() for path in GOLDEN.glob("v1-*.ctm")}
    return found | {
        "guided": small.encode(photo[:160, :230], tool="learned", quality=30),
        "finest": tiny.encode(photo[:130, :200], tool="learned", quality=100),
        "map": tiny.encode(photo[:100, :140], qp_map=np.array([[3, 60], [31, 12]])),
        "alpha": small.encode(Image.fromarray(clear), tool="learned", quality=50),
        "grey": tiny.encode(grey, tool="learned", quality=50),
        "one pixel": small.encode(photo[:1, :1], tool="learned", quality=50),
        "mixed": small.encode(page, tool="mixed", quality=40),
        "golden mixed": (GOLDEN / "v2-mixed.ctm").read_bytes(),
        # Wider than 144 latent positions, so it is decoded in tiles.
        "tiles": tiny.encode(np.tile(photo[:70], (1, 6, 1)), tool="learned", quality=40),
    }


def test_learned_files_are_those_of_python(networks: Module, photo: NDArray[np.uint8]) -> None:
    script = """const {decodeCtmFull} = await import('/cotam.js');
      const found = await decodeCtmFull(datas[0], {wantBits: true, wantLatents: true});
      return {picture: shown(found.picture), qp: found.qp && [...found.qp],
        y: found.yHat && await hash(found.yHat), bits: [...found.bits]};"""
    for name, data in learned_files(photo).items():
        found = networks.call(script, data)
        wanted = by_python(data)
        assert np.abs(pixels_of(found["picture"]) - wanted).max() <= 1, name
        if codec.inspect(data).tool == "mixed":
            continue
        decoded = codec_of(data).decode_full(data, want_bits=True)
        y_hat = np.ascontiguousarray(decoded.y_hat)
        assert found["y"] == hashlib.sha256(y_hat.tobytes()).hexdigest(), name
        bits = decoded.bits
        assert bits is not None
        assert np.allclose(found["bits"], bits.ravel(), rtol=1e-4, atol=1e-2), name
        assert (np.asarray(found["qp"]) == np.broadcast_to(decoded.qp, bits.shape).ravel()).all()


def test_previews_need_the_beginning_only(networks: Module, photo: NDArray[np.uint8]) -> None:
    script = """const {decodeCtmPreview} = await import('/cotam.js');
      return shown(await decodeCtmPreview(datas[0]));"""
    data = codec.load("tiny").encode(photo[:133, :201], tool="learned", quality=60)
    wanted = codec.decode(data, output="array", level="preview")
    found = pixels_of(networks.call(script, data))
    assert np.abs(found[..., :3] - wanted.astype(int)).max() <= 1
    layer = container.Reader(container.read(data).latents)
    end = container.read_header(data).size + layer.varint() + layer.at
    assert end < len(data) / 2
    assert (pixels_of(networks.call(script, data[:end])) == found).all()
    assert networks.call(script, data[: end - 1]) is None
    drawn = codec.load().encode(photo[:64, :64], tool="palette")
    assert pixels_of(networks.call(script, drawn)).shape == (8, 8, 4)


def test_tokens_are_those_that_python_keeps(networks: Module, photo: NDArray[np.uint8]) -> None:
    script = """const {decodeFull} = await import('/sources/module/decode.js');
      const {keptTokens} = await import('/sources/parts/tokens.js');
      const found = await decodeFull(datas[0], {wantBits: true});
      return more.map((budget) => [...keptTokens(found, budget)]);"""
    budgets = [0.05, 0.25, 0.6, 1.0]
    data = codec.load("tiny").encode(photo[:200, :300], tool="learned", quality=50)
    decoded = codec.load("tiny").decode_full(data, want_bits=True)
    for budget, found in zip(budgets, networks.call(script, data, more=budgets)):
        kept = set(select_tokens(decoded, budget).indexes.tolist())
        assert len(found) == len(kept)
        # Sums are rounded differently, so ties may be resolved differently.
        assert len(kept & set(found)) >= 0.98 * len(kept)


def test_hostile_files_are_errors(networks: Module) -> None:
    """Runs in the page's thread with a time limit. Errors are typed and have one line."""
    random = Random(7)
    seeds = [data for data in fuzz.seeds() if len(data) < 20000]
    files = [fuzz.hostile(seeds, random) for _ in range(300)]
    script = """const {decodeFull} = await import('/sources/module/decode.js');
      const out = [];
      for (const data of datas) {
        const begun = performance.now();
        let outcome = "picture";
        try {
          await decodeFull(data, {limitPixels: 2 ** 22});
        } catch (error) {
          outcome = error.name;
          if (!error.message || error.message.includes("\\n")) outcome += " in several lines";
        }
        out.push([outcome, performance.now() - begun]);
      }
      return out;"""
    for start in range(0, len(files), 50):
        part = files[start : start + 50]
        for data, (outcome, spent) in zip(part, networks.call(script, *part)):
            wanted = _outcome(data)
            assert outcome in TYPED | {"picture"}, (outcome, wanted)
            assert spent < 30000
            # Pillow and the browser may differ about damage inside AV1 and PNG data.
            lenient = container_tool(data) in (1, 3) or b"PNG" in data
            assert lenient or (outcome == "picture") == (wanted == "picture"), (outcome, wanted)


def _outcome(data: bytes) -> str:
    try:
        container.read(data, 1 << 22)
        codec.decode(data, device="cpu")
    except CodecError as error:
        return type(error).__name__
    return "picture"


def container_tool(data: bytes) -> int:
    """The tool of a file; 0 if the header is invalid."""
    try:
        return container.read_header(data).tool
    except CodecError:
        return 0


def test_hostile_messages_are_errors(module: Module) -> None:
    random = Random(11)
    key = (GOLDEN / "streams" / "screens-0.ctm").read_bytes()
    message = (GOLDEN / "streams" / "screens-1.ctm").read_bytes()
    content = container.read(message)
    head, rest = content.latents[:5], content.latents[5:]
    files = []
    for _ in range(150):
        payload = head + fuzz.mutated_bytes(rest, random, [rest])
        files.append(container.write(replace(content, latents=payload)))
    script = """const {StreamDecoder} = await import('/module/decode.js');
      const out = [];
      for (const data of datas.slice(1)) {
        const stream = new StreamDecoder();
        await stream.decode(datas[0]);
        try {
          out.push(shown(await stream.decode(data)).data.length);
        } catch (error) {
          out.push(error.name);
        }
      }
      return out;"""
    for data, outcome in zip(files, module.call(script, key, *files)):
        decoder = codec.StreamDecoder()
        decoder.decode(key)
        try:
            decoder.decode(data)
        except CodecError:
            assert outcome in TYPED
        else:
            assert isinstance(outcome, int)


def test_errors_are_those_of_python(module: Module, photo: NDArray[np.uint8]) -> None:
    data = codec.load().encode(photo[:20, :20], lossless=True)
    learned = codec.load().encode(photo[:20, :20], tool="learned")
    cases = {
        "NotACotamFile": b"GIF89a",
        "Truncated": data[:-1],
        "UnsupportedVersion": data[:3] + b"\x09" + data[4:],
        "WrongModel": learned,
        "Corrupt": data + b"x",
    }
    for name, bad in cases.items():
        with pytest.raises(WebError) as found:
            module.decode(bad)
        assert found.value.name == name
    script = "await (await import('/cotam.js')).decodeCtm(datas[0], {%s})"
    with pytest.raises(WebError, match="TooLarge"):
        module.call(script % "limitPixels: 99", data)
    with pytest.raises(WebError, match="AbortError"):
        module.call(script % "signal: AbortSignal.abort()", data)
    # The worker is still running.
    assert module.decode(data).shape == (20, 20, 4)
