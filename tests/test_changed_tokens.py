"""Changed tokens of real processors are exactly those of the patches that changed."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import codec
from codec.errors import BadArgument

transformers = pytest.importorskip("transformers", reason="cotam[mllm] is not installed")
torch = pytest.importorskip("torch")
from codec.integrations.transformers import changed_tokens  # noqa: E402
from tests import families  # noqa: E402
from tests.test_stream import screen  # noqa: E402

TYPED = "typing words"


def typing(width: int = 480, height: int = 320) -> list[codec.Frame]:
    encoder, decoder = codec.StreamEncoder(), codec.StreamDecoder()
    pages = [screen(width, height, TYPED[:n]) for n in range(len(TYPED))]
    pages.append(screen(width, height, TYPED, menu=True))
    return [decoder.decode(encoder.encode(page)) for page in pages]


def embedded(tower: Any, processor: Any, pixels: NDArray[np.uint8]) -> Any:
    """The patch embeddings of LLaVA's tower, before any attention."""
    values = processor.image_processor([pixels], return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        return tower.embeddings.patch_embedding(values).flatten(2).transpose(1, 2).flatten(0, 1)


@pytest.mark.slow
def test_every_changed_patch_of_llava_and_no_other() -> None:
    model, processor = families.llava()
    tower = model.model.vision_tower
    tower = getattr(tower, "vision_model", tower)
    frames = typing()
    assert changed_tokens(processor, frames[0]).tolist() == list(range(36))
    for before, frame in pairwise(frames):
        one = embedded(tower, processor, before.pixels)
        other = embedded(tower, processor, frame.pixels)
        differ = (one != other).any(1).nonzero()[:, 0].tolist()
        assert changed_tokens(processor, frame).tolist() == differ
    assert 0 < len(changed_tokens(processor, frames[3])) < 12


@pytest.mark.slow
@pytest.mark.parametrize("make", [families.qwen2_vl, families.qwen2_5_vl, families.qwen3_vl])
def test_every_changed_token_of_qwen_and_no_other(make: Any) -> None:
    _, processor = make()
    frames = typing(224, 224)
    for before, frame in pairwise(frames):
        rows = [
            processor.image_processor([one.pixels], return_tensors="pt") for one in (before, frame)
        ]
        merged = processor.image_processor.merge_size**2
        differ = (rows[0]["pixel_values"] != rows[1]["pixel_values"]).any(1)
        tokens = differ.reshape(-1, merged).any(1).nonzero()[:, 0].tolist()
        found = changed_tokens(processor, frame)
        assert found.tolist() == tokens
        assert len(found) < int(rows[0]["image_grid_thw"].prod()) // merged


@pytest.mark.slow
def test_each_view_of_llava_next_has_its_patches() -> None:
    _, processor = families.llava_next()
    frames = typing()
    everything = changed_tokens(processor, frames[0])
    some = changed_tokens(processor, frames[5])
    assert len(everything) % 36 == 0
    assert len(everything) > 36
    assert 1 < len(some) < len(everything)
    # Tokens of two views: the whole picture, and the tile with the letter.
    assert len({int(token) // 36 for token in some}) == 2


def test_nothing_changes_with_the_same_picture() -> None:
    _, processor = families.llava()
    encoder, decoder = codec.StreamEncoder(), codec.StreamDecoder()
    decoder.decode(encoder.encode(screen()))
    frame = decoder.decode(encoder.encode(screen()))
    assert changed_tokens(processor, frame).tolist() == []


@pytest.mark.slow
def test_a_processor_that_does_not_say_its_patches_needs_help() -> None:
    processor = transformers.CLIPImageProcessor(
        size={"shortest_edge": 48}, crop_size={"height": 48, "width": 48}
    )
    frame = typing()[2]
    with pytest.raises(BadArgument, match="patch_size"):
        changed_tokens(processor, frame)
    found = changed_tokens(processor, frame, patch_size=8)
    assert found.tolist() == changed_tokens(families.llava()[1], frame).tolist()
