"""Streams: small messages, no drift, and errors for all ways to lose messages."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from skimage import data as pictures

import codec
from codec.bitstream import container
from codec.errors import BadArgument, Corrupt, MissingReference, TooLarge, WrongModel
from codec.stream import blocks
from codec.stream.coding import MOST_ERRORS
from codec.stream.rule import threshold
from codec.tools import changes
from codec.tools.choosing.expected import token_error
from tests.conftest import ROOT

Pixels = NDArray[np.uint8]


def screen(
    width: int = 480, height: int = 320, typed: str = "", menu: bool = False, scroll: int = 0
) -> Pixels:
    """A drawn page: a bar, lines of text that scroll, a menu."""
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    for line in range(60):
        y = 40 + 18 * line - scroll
        if not -18 < y < height:
            continue
        draw.text((90, y), f"line {line} {line * 7919 % 1000} of words and words", fill="#333333")
    draw.rectangle((0, 0, width, 30), fill="#335577")
    draw.rectangle((0, 31, 80, height), fill="#eeeeee")
    draw.text((100, 10), typed, fill="white")
    if menu:
        draw.rectangle((200, 60, 360, 250), fill="#fafafa", outline="#888888")
        for line in range(9):
            draw.text((210, 66 + 20 * line), f"Entry {line}", fill="#222222")
    return np.asarray(image)


def mouse(pixels: Pixels, x: int, y: int) -> Pixels:
    image = Image.fromarray(pixels)
    ImageDraw.Draw(image).polygon([(x, y), (x, y + 17), (x + 12, y + 12)], fill="black")
    return np.asarray(image)


def test_the_first_message_is_a_usual_file() -> None:
    pixels = screen()
    data = codec.StreamEncoder(quality=50).encode(pixels)
    assert data == codec.load().encode(pixels, quality=50)
    frame = codec.StreamDecoder().decode(data)
    assert frame.is_key
    assert frame.changed == [(0, 0, 480, 320)]
    assert np.array_equal(np.asarray(frame.picture), codec.decode(data, output="array"))


def test_small_changes_take_few_bytes() -> None:
    encoder, decoder = codec.StreamEncoder(), codec.StreamDecoder()
    page = screen()
    decoder.decode(encoder.encode(page))
    unchanged = encoder.encode(page)
    assert len(unchanged) < 40
    assert decoder.decode(unchanged).changed == []
    pointed = encoder.encode(mouse(page, 200, 120))
    assert len(pointed) < 100
    decoder.decode(pointed)
    moved = encoder.encode(mouse(page, 230, 140))
    assert len(moved) < 150
    decoder.decode(moved)
    typed = encoder.encode(screen(typed="a"))
    assert len(typed) < 200
    assert decoder.decode(typed).size == (320, 480)


def test_a_menu_that_closes_brings_the_page_back_for_little() -> None:
    encoder, decoder = codec.StreamEncoder(), codec.StreamDecoder()
    sizes = []
    for menu in (False, True, False, True):
        data = encoder.encode(screen(menu=menu))
        sizes.append(len(data))
        frame = decoder.decode(data)
    assert sizes[2] < 40
    assert sizes[3] < 40
    assert 200 < sizes[1] < sizes[0]
    assert frame.changed == [(200, 60, 361, 251)]


def test_scrolling_sends_what_comes_into_view() -> None:
    encoder, decoder = codec.StreamEncoder(), codec.StreamDecoder()
    first = encoder.encode(screen())
    decoder.decode(first)
    data = encoder.encode(screen(scroll=36))
    info = codec.inspect(data)
    assert len(data) < len(first) / 3
    assert info.moved is not None
    assert info.changed is not None
    assert info.moved > 0.2
    assert info.changed < 0.1
    error = np.abs(decoder.decode(data).pixels.astype(int) - screen(scroll=36)).mean()
    assert error < 3


def test_info_names_what_a_file_builds_on() -> None:
    encoder = codec.StreamEncoder()
    first = codec.inspect(encoder.encode(screen()))
    second = codec.inspect(encoder.encode(screen(menu=True)))
    assert first.builds_on is first.message is first.changed is None
    assert second.builds_on == first.checksum
    assert second.message == 1
    assert second.changed == pytest.approx(161 * 191 / (480 * 320), abs=1e-3)
    assert second.tool == "changes"


def test_the_whole_picture_cannot_be_had_from_a_message_alone() -> None:
    encoder = codec.StreamEncoder()
    first = codec.inspect(encoder.encode(screen()))
    data = encoder.encode(screen(menu=True))
    for door in (codec.decode, codec.StreamDecoder().decode):
        with pytest.raises(MissingReference) as found:
            door(data)
        assert found.value.needed == first.checksum
        assert first.checksum in str(found.value)
        assert found.value.held is None
        assert found.value.number == 1


def test_lost_and_reordered_messages_are_named() -> None:
    encoder, decoder = codec.StreamEncoder(), codec.StreamDecoder()
    letters = [encoder.encode(screen(typed="abcdef"[:n])) for n in range(6)]
    decoder.decode(letters[0])
    shown = decoder.decode(letters[1])
    with pytest.raises(MissingReference) as found:
        decoder.decode(letters[3])
    assert found.value.needed == codec.inspect(letters[2]).checksum
    assert found.value.held == codec.inspect(letters[1]).checksum
    assert found.value.number == 3
    # The failed calls changed nothing: the stream continues.
    assert decoder.decode(letters[2]).number == 2
    assert decoder.decode(letters[3]).number == 3
    with pytest.raises(MissingReference):
        decoder.decode(letters[1])
    assert shown.number == 1


def test_a_key_helps_a_receiver_that_lost_a_message() -> None:
    encoder, decoder = codec.StreamEncoder(), codec.StreamDecoder()
    encoder.encode(screen())
    encoder.encode(screen(menu=True))
    encoder.key()
    key = encoder.encode(screen())
    assert codec.inspect(key).builds_on is None
    assert decoder.decode(key).is_key
    # Messages after it do not need earlier ones either.
    assert decoder.decode(encoder.encode(screen(menu=True))).number == 1


@pytest.mark.slow
def test_keys_come_as_often_as_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = codec.StreamEncoder(key_every=3)
    kinds = [codec.inspect(encoder.encode(screen())).builds_on is None for _ in range(7)]
    assert kinds == [True, False, False, True, False, False, True]
    now = [100.0]
    monkeypatch.setattr("codec.stream.encoder.time.monotonic", lambda: now[0])
    encoder = codec.StreamEncoder(key_seconds=10)
    kinds = []
    for seconds in (0, 4, 5, 2, 9, 1):
        now[0] += seconds
        kinds.append(codec.inspect(encoder.encode(screen())).builds_on is None)
    assert kinds == [True, False, False, True, False, True]


@pytest.mark.parametrize(
    "options",
    [
        {"key_every": 0},
        {"key_every": True},
        {"key_seconds": 0},
        {"target_bytes": 1000},
        {"qp_map": np.zeros((1, 1))},
        {"tune": "clip"},
        {"qualty": 50},
        {"quality": 101},
    ],
)
def test_options_without_a_meaning_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(BadArgument):
        codec.StreamEncoder(**options)  # type: ignore[arg-type]


def test_other_sizes_and_transparency_are_whole_files() -> None:
    encoder, decoder = codec.StreamEncoder(), codec.StreamDecoder()
    faded = np.dstack([screen(), np.full((320, 480), 90, np.uint8)])
    pictures = [screen(), screen(470, 320), Image.fromarray(faded), screen(), screen()]
    frames = [decoder.decode(encoder.encode(picture)) for picture in pictures]
    assert [frame.is_key for frame in frames] == [True, True, True, True, False]
    assert frames[2].picture.mode == "RGBA"
    assert frames[4].picture.mode == "RGB"


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_lossless_streams_are_exact(seed: int) -> None:
    random = np.random.default_rng(seed)
    encoder, decoder = codec.StreamEncoder(lossless=True, effort=0), codec.StreamDecoder()
    pixels = screen(200, 150)
    for _ in range(6):
        pixels = pixels.copy()
        y, x = random.integers(0, 140, 2)
        h, w = random.integers(1, 60, 2)
        kind = random.integers(0, 3)
        if kind == 0:
            pixels[y : y + h, x : x + w] = random.integers(0, 256, 3)
        elif kind == 1:
            pixels[:] = np.roll(pixels, int(random.integers(1, 30)), 0)
        else:
            part = pixels[y : y + h, x : x + w]
            pixels[y : y + h, x : x + w] = random.integers(0, 256, part.shape)
        assert np.array_equal(decoder.decode(encoder.encode(pixels)).pixels, pixels)


def test_the_same_messages_for_every_kind_of_picture() -> None:
    pages = [screen(), screen(menu=True)]
    made = []
    for kind in (lambda a: a, Image.fromarray, lambda a: a.transpose(2, 0, 1) / np.float32(255)):
        encoder = codec.StreamEncoder()
        made.append([encoder.encode(kind(page)) for page in pages])
    assert made[0] == made[1] == made[2]


def test_the_callers_arrays_may_change() -> None:
    encoder, decoder = codec.StreamEncoder(lossless=True), codec.StreamDecoder()
    pixels = screen().copy()
    decoder.decode(encoder.encode(pixels))
    pixels[100:120, 200:230] = 0
    frame = decoder.decode(encoder.encode(pixels))
    assert np.array_equal(frame.pixels, pixels)


def changing(step: int, random: np.random.Generator) -> Pixels:
    """A page on which something is scrolled, faded, blinking or typed at every step."""
    pixels = screen(
        200, 150, typed=f"{step}", scroll=(step // 9) * 5 % 700, menu=step % 40 > 30
    ).copy()
    level = 128 + round(100 * np.sin(step / 60))
    # Fades by one or two levels per message; a single step is below the threshold.
    pixels[100:140, 10:70] = (level, 255 - level, level // 2)
    if step % 2:
        pixels[60:76, 120] = 0
    noisy = pixels[40:60, 150:190]
    noisy[:] = np.clip(random.normal(128, 3, noisy.shape), 0, 255)
    return pixels


@pytest.mark.slow
@pytest.mark.parametrize(("quality", "messages"), [(30, 1000), (80, 150)])
def test_many_messages_do_not_drift(quality: float, messages: int) -> None:
    """All pictures keep the promised quality, and the last hundred are as good as whole files."""
    streams = [
        (codec.StreamEncoder(quality=quality, effort=1), codec.StreamDecoder()) for _ in range(2)
    ]
    random = np.random.default_rng(0)
    errors: list[list[float]] = [[], []]
    promised = float(np.interp(quality, *zip(*MOST_ERRORS)))
    for step in range(messages):
        pixels = changing(step, random)
        every = np.ones(blocks.grid_of(pixels), np.bool_)
        for number, (encoder, decoder) in enumerate(streams):
            if number and step < messages - 100:
                continue
            frame = decoder.decode(encoder.encode(pixels))
            found = blocks.errors(frame.pixels, pixels, every)
            errors[number].append(float(found.mean()))
            # The error of the fading area never exceeds the threshold.
            if step % 20 == 0:
                assert token_error(pixels, frame.pixels) <= 1.1 * promised
            fading = np.square(frame.pixels[104:136, 16:64].astype(int) - pixels[104:136, 16:64])
            assert fading.mean() <= 2 * threshold(quality)
    assert len(errors[0]) == messages
    most = max(threshold(quality), 1.2 * float(np.mean(errors[1])) + 1)
    assert np.mean(errors[0][-100:]) <= most


@pytest.mark.slow
def test_a_slow_fade_is_sent_when_the_sum_of_its_steps_shows() -> None:
    encoder, decoder = codec.StreamEncoder(quality=50), codec.StreamDecoder()
    limit = threshold(50)
    sent = 0
    for level in range(100, 160):
        pixels = screen().copy()
        pixels[200:280, 300:400] = level
        data = encoder.encode(pixels)
        sent += len(data) > 40
        frame = decoder.decode(data)
        error = (frame.pixels[208:272, 304:392].astype(float) - level) ** 2
        assert error.max() <= limit + 1
    assert 5 < sent < 30


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 40))
def test_changed_tokens_are_those_that_see_a_changed_pixel(
    seed: int, rows: int, columns: int
) -> None:
    random = np.random.default_rng(seed)
    before = np.zeros((37, 61, 3), np.uint8)
    after = before.copy()
    for _ in range(random.integers(0, 4)):
        y, x = random.integers(0, 37), random.integers(0, 61)
        after[y, x, random.integers(0, 3)] = 1
    from codec.io.images import Picture

    frame = codec.Frame(Picture(after), Picture(before), 1, "")
    seen = set()
    for y, x in np.argwhere((before != after).any(2)):
        for row in range(rows):
            for column in range(columns):
                top, bottom = row * 37 / rows, (row + 1) * 37 / rows
                left, right = column * 61 / columns, (column + 1) * 61 / columns
                if y < bottom and y + 1 > top and x < right and x + 1 > left:
                    seen.add(row * columns + column)
    assert frame.changed_tokens((rows, columns)).tolist() == sorted(seen)
    for left, top, right, bottom in frame.changed:
        assert (before != after)[top:bottom, left:right].any()


def test_a_grid_finer_than_the_picture_is_refused() -> None:
    frame = codec.StreamDecoder().decode(codec.StreamEncoder().encode(screen()))
    with pytest.raises(BadArgument):
        frame.changed_tokens((321, 4))


def test_going_on_after_a_file() -> None:
    first, second = screen(), screen(menu=True)
    whole = codec.load().encode(first)
    known = codec.StreamEncoder()
    known.follow(whole, first)
    message = known.encode(second)
    decoder = codec.StreamDecoder()
    decoder.decode(whole)
    decoder.decode(message)
    # Without the source, areas that are as good as in a whole file are not sent again.
    blind = codec.StreamEncoder()
    blind.follow(whole)
    longer = blind.encode(second)
    assert codec.inspect(longer).builds_on == codec.inspect(whole).checksum
    assert len(longer) < 3 * len(message)
    # A stream can also continue after another encoder's message.
    third = codec.StreamEncoder()
    third.follow(whole, first)
    third.follow(message, second)
    assert len(third.encode(second)) < 40
    with pytest.raises(MissingReference):
        codec.StreamEncoder().follow(message)
    with pytest.raises(BadArgument):
        codec.StreamEncoder().follow(whole, screen(470))


def test_lossless_after_a_lossy_file_is_lossless() -> None:
    first = screen()
    whole = codec.load().encode(first, tool="av1", quality=20)
    encoder, decoder = codec.StreamEncoder(lossless=True), codec.StreamDecoder()
    encoder.follow(whole, first)
    decoder.decode(whole)
    assert np.array_equal(decoder.decode(encoder.encode(first)).pixels, first)


def test_photographs_of_a_page_by_the_learned_tool() -> None:
    toy = codec.load(ROOT / "tests" / "golden" / "toy.safetensors", "cpu")
    page = screen(600, 400).copy()
    encoder = codec.StreamEncoder(toy, tool="mixed", quality=50)
    decoder = codec.StreamDecoder(toy)
    key = encoder.encode(page)
    decoder.decode(key)
    page[64:384, 128:448] = pictures.astronaut()[:320, 100:420]
    message = encoder.encode(page)
    content = container.read(message)
    found = changes.read(content.payload, content.height, content.width)
    assert [one.tool for one in found.rectangles] == [changes.LEARNED]
    assert found.fingerprint.hex() == toy.fingerprint
    frame = decoder.decode(message)
    assert np.abs(frame.pixels.astype(int) - page).mean() < 40
    with pytest.raises(WrongModel):
        codec.weights_of(message)
    other = codec.StreamDecoder(codec.load("tiny", "cpu"))
    other.decode(key)
    with pytest.raises(WrongModel):
        other.decode(message)


def test_a_message_of_another_size_is_corrupt() -> None:
    encoder, decoder = codec.StreamEncoder(), codec.StreamDecoder()
    decoder.decode(encoder.encode(screen()))
    content = container.read(encoder.encode(screen()))
    with pytest.raises(Corrupt):
        decoder.decode(container.write(replace(content, width=481)))


def test_limits_hold() -> None:
    encoder = codec.StreamEncoder()
    data = [encoder.encode(screen()), encoder.encode(screen(menu=True))]
    small = codec.StreamDecoder(limit_pixels=1000)
    with pytest.raises(TooLarge):
        small.decode(data[0])
    short = codec.StreamDecoder(limit_memory=1000)
    with pytest.raises(TooLarge):
        short.decode(data[0])
    limited = codec.load()
    limited.limit_pixels = 1000
    with pytest.raises(TooLarge):
        codec.StreamEncoder(limited).encode(screen())


def test_old_readers_refuse_messages_with_one_sentence() -> None:
    """Readers from before this tool do not find its number in their list."""
    from codec.errors import UnsupportedVersion
    from codec.tools.registry import tool_numbered

    with pytest.raises(UnsupportedVersion, match="update it"):
        tool_numbered(changes.NUMBER)


def test_screens_need_no_torch() -> None:
    program = (
        "import sys, numpy as np, codec\n"
        "page = np.full((200, 300, 3), 255, np.uint8)\n"
        "page[::9, ::5] = 30\n"
        "encoder, decoder = codec.StreamEncoder(codec.load(), quality=50), codec.StreamDecoder()\n"
        "decoder.decode(encoder.encode(page))\n"
        "page[50:90, 60:120] = 90\n"
        "print(decoder.decode(encoder.encode(page)).changed)\n"
        "assert 'torch' not in sys.modules and 'onnxruntime' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[(60, 50, 120, 90)]"
