"""Learned codecs of compressai: `compressai:NAME` with its weights, `untrained:NAME` for timing.

::

    pixels -> edge repeated to multiples of 64 -> compress -> strings -> header of sizes + strings
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np

from codec.errors import BadArgument
from codec.evaluation.codecs.interface import CodecUnderTest
from codec.evaluation.distortion import Pixels

# A picture's edge is repeated until its sides are multiples of this: the hyper latents' grid.
STRIDE = 64
# Quality, height, width, rows and columns of the latent that compressai calls `shape`, strings.
HEAD = struct.Struct("<BHHHHB")
LENGTH = struct.Struct("<I")
# Models are large: two qualities of one model stay in memory.
MODELS_KEPT = 2
# Quality 4 of 8. All qualities below 5 have networks of the same size.
UNTRAINED_QUALITY = 4
UNTRAINED_SEED = 0

Model = Callable[[int], Any]
# Quality, (height, width), strings, shape: what compressai's `decompress` needs.
Content = tuple[int, tuple[int, int], Any, Any]
Pack = Callable[[int, tuple[int, int], dict[str, Any]], bytes]
Unpack = Callable[[bytes], Content]


def _mbt2018_mean() -> Any:
    from compressai.zoo import mbt2018_mean

    return mbt2018_mean(UNTRAINED_QUALITY, pretrained=False)


def _elic() -> Any:
    from compressai.models import Elic2022Official

    return Elic2022Official()


# title -> model with random weights: these change neither the layers nor the number of symbols,
# so time and cost can be measured where no weights can be fetched.
UNTRAINED: dict[str, Callable[[], Any]] = {"mbt2018-mean": _mbt2018_mean, "ELIC": _elic}


def codec_of(name: str) -> CodecUnderTest:
    """A model of compressai's zoo with its published weights, which compressai fetches.

    Args:
        name: as in the zoo, `mbt2018-mean` for example.

    Returns:
        The codec.

    Raises:
        BadArgument: there is no such model, or its weights cannot be fetched.
    """
    try:
        from compressai.zoo import image_models
        from compressai.zoo.image import cfgs
    except ImportError:
        raise BadArgument(
            f"{name} needs compressai: pip install 'compressai>=1.2.6,<2' (Python below 3.13)"
        ) from None
    if name not in image_models:
        raise BadArgument(
            f"compressai has no model '{name}'; it has {', '.join(sorted(image_models))}"
        )

    @lru_cache(maxsize=MODELS_KEPT)
    def model(quality: int) -> Any:
        try:
            return image_models[name](quality, pretrained=True).eval()
        except OSError as error:
            raise BadArgument(
                f"compressai's weights for {name} cannot be fetched: {error}"
            ) from None

    # Weights that cannot be fetched are reported now and not in the middle of a run.
    model(min(cfgs[name]))
    identity = f"compressai {version('compressai')} {name}"
    return learned_codec(name, identity, tuple(sorted(cfgs[name])), model, packed, unpacked)


def untrained_codec(name: str) -> CodecUnderTest:
    """A model with random weights: it takes as long as a trained one, and its files are useless.

    Args:
        name: a key of UNTRAINED.

    Returns:
        The codec, with its parameters counted. It decodes only files that it wrote itself, because
        the strings of some models (ELIC) do not fit into the header of `packed`.

    Raises:
        BadArgument: there is no such model.
    """
    if name not in UNTRAINED:
        raise BadArgument(f"untrained models are {', '.join(UNTRAINED)}, not '{name}'")
    import torch

    torch.manual_seed(UNTRAINED_SEED)
    # Without gradients, because the counter of multiplications would otherwise follow them.
    model = UNTRAINED[name]().eval().requires_grad_(False)
    model.update(force=True)
    identity = f"compressai {version('compressai')} {name}, random weights"
    parameters = sum(p.numel() for p in model.parameters())
    contents: dict[bytes, Content] = {}

    def pack(quality: int, size: tuple[int, int], coded: dict[str, Any]) -> bytes:
        data = b"".join(_flat(coded["strings"]))
        contents[data] = quality, size, coded["strings"], coded["shape"]
        return data

    return learned_codec(
        name,
        identity,
        (UNTRAINED_QUALITY,),
        lambda quality: model,
        pack,
        contents.__getitem__,
        parameters,
        trained=False,
    )


def _flat(strings: Any) -> Iterator[bytes]:
    """All strings of a nested list, in order."""
    if isinstance(strings, bytes):
        yield strings
        return
    for part in strings:
        yield from _flat(part)


def learned_codec(
    name: str,
    identity: str,
    qualities: tuple[int, ...],
    model: Model,
    pack: Pack,
    unpack: Unpack,
    parameters: int | None = None,
    stride: int = STRIDE,
    trained: bool = True,
) -> CodecUnderTest:
    """Make a codec of compressai's models.

    Args:
        name: its title in tables and plots.
        identity: everything that its files depend on.
        qualities: those that have a model.
        model: from a quality to a compressai CompressionModel whose tables are ready.
        pack: writes a file, as `packed` does.
        unpack: reads it.
        parameters: of the networks, if they were counted.
        stride: a picture's edge is repeated until its sides are multiples of this.
        trained: see CodecUnderTest.

    Returns:
        The codec.
    """
    import torch
    from torch.nn import functional as F

    @torch.inference_mode()
    def encode(pixels: Pixels, quality: float) -> bytes:
        height, width = pixels.shape[:2]
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
        x = torch.from_numpy(planes)[None].float() / 255
        x = F.pad(x, (0, -width % stride, 0, -height % stride), mode="replicate")
        return pack(int(quality), (height, width), model(int(quality)).compress(x))

    @torch.inference_mode()
    def decode(data: bytes) -> Pixels:
        quality, (height, width), strings, shape = unpack(data)
        x_hat = model(quality).decompress(strings, shape)["x_hat"][0, :, :height, :width]
        return x_hat.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()

    grid = tuple(map(float, qualities))
    return CodecUnderTest(
        name,
        identity,
        grid,
        encode,
        decode,
        max(qualities),
        parameters=parameters,
        trained=trained,
    )


def packed(quality: int, size: tuple[int, int], coded: dict[str, Any]) -> bytes:
    """Write a file: quality, height, width, latent sides, strings with their lengths.

    Args:
        quality: 0..255.
        size: height and width in pixels, up to 65535.
        coded: what compressai's `compress` returns for one picture.

    Returns:
        The file.

    Raises:
        BadArgument: the strings are not one per group, so that the header cannot describe them.
    """
    strings = coded["strings"]
    if not all(len(group) == 1 and isinstance(group[0], bytes) for group in strings):
        raise BadArgument("the bitstream of this compressai model is not supported")
    sides = (int(side) for side in coded["shape"])
    head = HEAD.pack(quality, *size, *sides, len(strings))
    return head + b"".join(LENGTH.pack(len(group[0])) + group[0] for group in strings)


def unpacked(data: bytes) -> Content:
    """Read what `packed` wrote.

    Returns:
        Quality, (height, width), strings, latent sides.
    """
    quality, height, width, rows, columns, count = HEAD.unpack_from(data)
    at = HEAD.size
    strings = []
    for _ in range(count):
        (length,) = LENGTH.unpack_from(data, at)
        at += LENGTH.size
        strings.append([data[at : at + length]])
        at += length
    return quality, (height, width), strings, (rows, columns)
