"""Hostile files: `make fuzz SECONDS=600`, or `python -m tests.fuzz --count 10000 --seed 1`.

::

    files of all weights, golden files -> mutated, then lengths and checksum corrected
      -> decode, preview, inspect, save
      -> a picture or a CodecError, in bounded time and memory; files with another result are
         saved in tests/attacks
    messages of streams, mutated in the same way, after the picture that they build on
    valid JPEG, PNG, TIFF, WebP with random metadata (tests/attacks/pictures.py)
      -> encoded and decoded if Pillow can decode them, else refused with one line
"""

from __future__ import annotations

import argparse
import hashlib
import io
import resource
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image
from skimage import data as pictures

import codec
from codec.bitstream import container
from codec.bitstream.container import Container, put_varint
from codec.errors import CodecError
from codec.io import images, metadata
from tests.attacks import pictures as odd_pictures

ATTACKS = Path(__file__).with_name("attacks")
MODELS = ("small", "small-mse", "tiny")
MOST_SECONDS = 2.0
MOST_MB = 1024  # in addition to the memory of the program itself
INTERESTING = (0, 1, 2, 0x3F, 0x40, 0x7F, 0x80, 0xFE, 0xFF)
SIDES = (1, 2, 15, 16, 17, 63, 64, 65, 255, 1000, 4095, 16384, 16385, 65535, (1 << 20) - 1)


@dataclass
class Tally:
    """Outcomes. `slowest` is in seconds, `largest` is additional memory in MB."""

    files: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    largest: float = 0.0
    failures: list[str] = field(default_factory=list)


def seeds() -> list[bytes]:
    """Valid files to mutate.

    All shipped weights, low and high quality, with a QP map, with alpha, grey, and very small.
    """
    photo, found = pictures.chelsea(), []
    alpha = Image.fromarray(
        np.dstack([photo[:90, :130], np.tile(np.arange(130, dtype=np.uint8), (90, 1))])
    )
    grey = Image.fromarray(photo[:33, :70]).convert("L")
    for name in MODELS:
        cotam = codec.load(name, "cpu")
        found += [
            cotam.encode(photo[:90, :130], tool="learned", quality=quality)
            for quality in (5, 50, 95)
        ]
        found.append(
            cotam.encode(photo[40:140, 60:200], tool="learned", quality=40, guide="uniform")
        )
        found.append(cotam.encode(photo[:64, :64], qp_map=np.array([[3, 60], [31, 12]])))
        found += [
            cotam.encode(alpha, tool="learned", quality=30),
            cotam.encode(grey, tool="learned", quality=40),
            cotam.encode(photo[:1, :1], tool="learned", quality=50),
        ]
    for tool in ("av1", "palette"):
        found += [cotam.encode(p, tool=tool, quality=60) for p in (photo[:90, :130], alpha, grey)]
    drawn = np.full((320, 320, 3), 255, np.uint8)
    drawn[::9, :100] = 40
    drawn[:192, 32:224] = photo[:192, 100:292]
    found.append(cotam.encode(drawn, tool="mixed", quality=40))
    return found


def mutated_bytes(data: bytes, random: Random, others: list[bytes]) -> bytes:
    """Make one to eight changes: bits, bytes, cuts, repeats, parts of another file, noise."""
    out = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4, 8))):
        if not out:
            return bytes(out)
        at, kind = random.randrange(len(out)), random.randrange(7)
        length = min(len(out) - at, random.choice((1, 2, 4, 8, 64)))
        if kind == 0:
            out[at] ^= 1 << random.randrange(8)
        elif kind == 1:
            out[at] = random.choice(INTERESTING)
        elif kind == 2:
            del out[at : at + length]
        elif kind == 3:
            out[at:at] = out[at : at + length]
        elif kind == 4:
            other = random.choice(others)
            start = random.randrange(len(other))
            out[at : at + length] = other[start : start + length]
        elif kind == 5:
            out[at : at + length] = random.randbytes(length)
        else:
            del out[at:]
    return bytes(out)


def mutated_png(data: bytes, random: Random) -> bytes:
    """Insert a chunk with a correct checksum at any position after the first chunk."""
    kind = random.choice(
        (
            b"iCCP",
            b"zTXt",
            b"iTXt",
            b"tEXt",
            b"tRNS",
            b"PLTE",
            b"gAMA",
            b"pHYs",
            b"cHRM",
            b"eXIf",
            b"acTL",
            b"fdAT",
            b"IDAT",
        )
    )
    payload = random.randbytes(random.choice((0, 0, 1, 2, 4, 30)))
    chunk = (
        len(payload).to_bytes(4, "big")
        + kind
        + payload
        + zlib.crc32(kind + payload).to_bytes(4, "big")
    )
    at = random.choice((33, max(33, len(data) - 12)))
    return data[:at] + chunk + data[at:]


def mutated_content(content: Container, random: Random, others: list[bytes]) -> Container:
    """Change one part of a file. The others stay valid, so that decoding reaches the change."""
    kind = random.randrange(8)
    if kind < 4:
        return replace(content, latents=mutated_bytes(content.latents, random, others))
    if kind == 4:
        side = random.choice(SIDES)
        return replace(content, **{random.choice(("width", "height")): side})
    if kind == 5:
        return replace(
            content,
            qp=random.randrange(64),
            width=random.choice(SIDES),
            height=random.choice(SIDES),
        )
    if kind == 6 and content.tool:
        return replace(content, channels=random.choice(container.CHANNELS))
    if kind == 6:
        start = content.qp_map or put_varint(random.choice((1, 2, 6))) + put_varint(
            random.choice((1, 2, 9))
        ) + bytes([0x10, 1, 0, 0, 0, 0])
        return replace(content, qp_map=mutated_bytes(start, random, others))
    extras = dict(content.extras)
    if random.random() < 0.5:
        alpha = (
            images.pack_alpha(np.zeros((content.height, content.width), np.uint8))
            if content.width * content.height < 1 << 20
            else b""
        )
        return replace(content, extras=extras | {container.EXTRA_ALPHA: mutated_png(alpha, random)})
    extras[random.choice((0x41, 0x45, 0x47, 0x49, random.randrange(256)))] = mutated_bytes(
        random.choice(others)[:200], random, others
    )
    return replace(content, extras=extras)


def hostile(files: list[bytes], random: Random) -> bytes:
    """A mutated file.

    Most have correct lengths and checksums, so that decoding reaches the entropy decoder.
    """
    data = random.choice(files)
    if random.random() < 0.2:
        return mutated_bytes(data, random, files)
    content = container.read(data)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        content = mutated_content(content, random, files)
    return container.write(content)


def _saved(data: bytes) -> None:
    """Decode the preview, which is fast, and save it in a format whose writer parses EXIF data."""
    picture = codec.load_for(data, device="cpu").decode_preview(data).picture
    extras = container.read(data).extras
    images.save(
        replace(picture, exif=extras.get(container.EXTRA_EXIF)),
        io.BytesIO(),
        (".tif", ".png", ".webp", ".jpg")[len(data) % 4],
    )


def doors(data: bytes) -> list[tuple[str, Callable[[], object]]]:
    """The functions that users call with files from unknown sources."""
    return [
        ("decode", lambda: codec.decode(data, output="array", device="cpu")),
        ("preview", lambda: codec.decode(data, output="array", level="preview", device="cpu")),
        ("inspect", lambda: codec.inspect(data)),
        ("saved", lambda: _saved(data)),
    ]


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def attack(data: bytes, tally: Tally) -> None:
    """Call all functions with a file, and record failures in the tally."""
    for name, door in doors(data):
        attempt(name, door, tally)


def attempt(name: str, door: Callable[[], object], tally: Tally) -> None:
    """Call a function, and record a failure in the tally."""
    start, before = time.process_time(), peak_mb()
    try:
        door()
        outcome = "picture"
    except CodecError as error:
        outcome = type(error).__name__
        if "\n" in str(error) or not str(error):
            tally.failures.append(f"{name}: {outcome} does not say what it is in one line")
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        outcome = f"UNTYPED {type(error).__name__}"
        tally.failures.append(f"{name}: {type(error).__name__}: {error}")
    seconds, grown = time.process_time() - start, peak_mb() - before
    tally.outcomes[outcome] += 1
    tally.slowest, tally.largest = max(tally.slowest, seconds), max(tally.largest, grown)
    if seconds > MOST_SECONDS or grown > MOST_MB:
        tally.failures.append(f"{name}: {seconds:.1f} s, {grown:.0f} MB")


def run(seconds: float, count: int | None, seed: int, keep: Path | None) -> Tally:
    """Attack until the time is over or the count is reached; `keep` is for files that fail."""
    random, files, tally = Random(seed), seeds(), Tally()
    for data in files:
        for _, door in doors(data):
            door()  # warm-up: loads weights, so that later calls are timed alone
    end = time.monotonic() + seconds
    while time.monotonic() < end and (count is None or tally.files < count):
        data = hostile(files, random)
        before = len(tally.failures)
        attack(data, tally)
        tally.files += 1
        if len(tally.failures) > before and keep is not None:
            keep.mkdir(exist_ok=True)
            (keep / f"{hashlib.sha256(data).hexdigest()[:16]}.ctm").write_bytes(data)
    return tally


def streams() -> list[tuple[bytes, bytes]]:
    """Pairs of a whole picture and a message: all tools, copies, small and large changes."""
    page = np.full((240, 320, 3), 255, np.uint8)
    page[::9, 40:300:2] = 30
    page[60:, 200:] = pictures.chelsea()[:180, :120]
    later = page.copy()
    later[20:200] = page[29:209]
    later[100:120, 60:90] = (200, 30, 30)
    later[130:180, 60:160] = pictures.chelsea()[100:150, 100:200]
    # A line with changed tones, and the same letters at two positions.
    later[205:216, 50:190] = later[205:216, 50:190] * 0.8
    later[222:238, 10:26] = later[222:238, 290:306] = (
        np.indices((16, 16)).sum(0)[..., None] % 7 * 30
    )
    found = []
    for tool in ("palette", "av1", "mixed"):
        for quality in (30, 100):
            options = {"tool": tool} if quality < 100 else {"lossless": True}
            encoder = codec.StreamEncoder(codec.load("tiny", "cpu"), **options)
            found.append((encoder.encode(page), encoder.encode(later)))
    return found


def hostile_messages(count: int, seed: int, keep: Path | None) -> Tally:
    """Decode mutated messages after the picture that they build on, and then a valid file."""
    random, tally, found = Random(seed), Tally(), streams()
    payloads = [container.read(message).latents for _, message in found]
    for key, message in found:
        codec.StreamDecoder().decode(key)
        codec.inspect(message)
    for _ in range(count):
        key, message = random.choice(found)
        content = container.read(message)
        # The number and the name of the previous file stay, so that decoding reaches the parts.
        head, rest = content.latents[:5], content.latents[5:]
        if random.random() < 0.9:
            content = replace(content, latents=head + mutated_bytes(rest, random, payloads))
        else:
            content = mutated_content(content, random, payloads)
        data = container.write(content)
        decoder = codec.StreamDecoder()
        decoder.decode(key)

        def door(data: bytes = data, decoder: codec.StreamDecoder = decoder) -> object:
            return decoder.decode(data).changed_tokens((1, 1))

        before = len(tally.failures)
        attempt("message", door, tally)
        attempt("inspect", lambda data=data: codec.inspect(data), tally)
        # In any case, the stream can continue with the next whole picture.
        attempt("afterwards", lambda decoder=decoder, key=key: decoder.decode(key), tally)
        tally.files += 1
        if len(tally.failures) > before and keep is not None:
            name = hashlib.sha256(data).hexdigest()[:16]
            (keep / f"{name}.ctm").write_bytes(data)
            (keep / f"{name}-before.ctm").write_bytes(key)
    return tally


def with_metadata(count: int, seed: int, keep: Path | None) -> Tally:
    """Code `count` pictures of each format, with random metadata, using small weights."""
    random, tally = Random(seed), Tally()
    toy = codec.load(ATTACKS.parent / "golden" / "toy.safetensors", "cpu")
    for number in range(count * len(odd_pictures.KINDS)):
        kind = odd_pictures.KINDS[number % len(odd_pictures.KINDS)]
        data = odd_pictures.with_odd_metadata(kind, random)
        if random.random() < 0.1:
            data = mutated_bytes(data, random, [data])
        sound, tally.files = odd_pictures.pillow_decodes(data), tally.files + 1
        try:
            file = toy.encode(data, keep=random.choice(metadata.KEEP), guide="uniform")
            picture = toy.decode_full(file).picture
            images.save(picture, io.BytesIO(), (".png", ".jpg", ".tif", ".webp")[number % 4])
            outcome, problem = f"{kind} coded", ""
        except CodecError as error:
            outcome = f"{kind} {type(error).__name__}"
            problem = f"refused though Pillow decodes it: {error}" if sound else ""
            problem = problem or ("not one sentence" if "\n" in str(error) else "")
        except Exception as error:
            outcome, problem = f"{kind} UNTYPED", f"{type(error).__name__}: {error}"
        tally.outcomes[outcome] += 1
        if problem:
            tally.failures.append(f"{kind}: {problem}")
            if keep is not None:
                name = f"{hashlib.sha256(data).hexdigest()[:16]}.{kind.lower()}"
                (keep / name).write_bytes(data)
    return tally


def main() -> None:
    """Command line; status 1 if there were failures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--count", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=int, default=1500, help="with odd metadata, of a kind")
    parser.add_argument("--messages", type=int, default=2000, help="of streams")
    options = parser.parse_args()
    tallies = [with_metadata(options.pictures, options.seed, ATTACKS)]
    tallies.append(hostile_messages(options.messages, options.seed, ATTACKS))
    tallies.append(run(options.seconds, options.count, options.seed, ATTACKS))
    for tally in tallies:
        print(f"{tally.files} files; slowest {tally.slowest:.2f} s, largest {tally.largest:.0f} MB")
        for outcome, number in tally.outcomes.most_common():
            print(f"{number:8} {outcome}")
        for failure in tally.failures[:20]:
            print(failure)
    sys.exit(any(tally.failures for tally in tallies))


if __name__ == "__main__":
    main()
