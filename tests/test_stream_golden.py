"""Messages of earlier versions can always be decoded."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

import codec
from tests.conftest import ROOT

GOLDEN = ROOT / "tests" / "golden"


@pytest.mark.parametrize("name", ["screens", "tones", "mixed"])
def test_golden_messages_decode_for_ever(name: str) -> None:
    """Screen tools decode exactly; the learned tool and AV1's colours are within 2 levels."""
    facts = json.loads((GOLDEN / "streams" / f"{name}.json").read_text())
    decoder = codec.StreamDecoder(codec.load(GOLDEN / "toy.safetensors", "cpu"))
    for number, fact in enumerate(facts):
        frame = decoder.decode((GOLDEN / "streams" / f"{name}-{number}.ctm").read_bytes())
        height, width = frame.size
        samples = frame.pixels[:: height // 16, :: width // 16].astype(int)
        assert np.abs(samples - np.array(fact["rgb_16x16"])).max() <= 2
        if name != "mixed":
            assert hashlib.sha256(frame.pixels.tobytes()).hexdigest() == fact["rgb_sha256"]
