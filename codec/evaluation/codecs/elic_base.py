r"""ELIC as a base codec with one set of weights for all rates, QP maps and guides.

It shows that the method does not depend on our own networks. compressai's ELIC (arXiv 2203.10886)
gets learned gains for each channel and QP, as the published multi-quantizer has them for ten rates.

::

    pixels -> g_a -> y * gain(QP of the place) -> ELIC's entropy model -> strings
    QP map -> its own section of the file (bitstream.qp_map)
    strings -> y_hat / gain -> g_s -> pixels

Its files are NOT portable between machines: ELIC's entropy model computes in floating point, and a
single bit of difference makes the strings unreadable. A file holds a checksum of y_hat, so that a
machine that computes otherwise raises an error and shows no wrong picture.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from codec.bitstream import qp_map as maps
from codec.coding.latent_grid import latent_grid
from codec.errors import BadArgument, Corrupt, NotACotamFile, UnknownModel, WrongModel
from codec.evaluation.codecs.by_checkpoint import boxed, unboxed
from codec.evaluation.codecs.cotam import QUALITIES
from codec.evaluation.codecs.interface import CodecUnderTest
from codec.evaluation.distortion import Pixels
from codec.guidance import STRENGTH, Guidance, Guide, choose
from codec.networks.gains import Gain
from codec.quality import BEST_QUALITY, quality_to_qp
from codec.weights import safetensors_file

FORMAT = "cotam-elic-1"
KIND = "ELIC with gains"  # in errors
MAGIC = b"ELICgain"
# Fingerprint, base QP, checksum of y_hat, bytes of the map.
HEAD = struct.Struct("<8s8sBII")
FINGERPRINT_BYTES = 8
STRIDE = 64
NOT_PORTABLE = "its files decode on machines only that compute exactly alike"


class GainedElic(nn.Module):
    """compressai's ELIC between a gain and its inverse.

    Args:
        n: channels of the transforms; 192 as published.
        m: channels of y; 320 as published, more than 128.

    Raises:
        BadArgument: compressai is missing.
    """

    def __init__(self, n: int = 192, m: int = 320) -> None:
        super().__init__()
        try:
            from compressai.models import Elic2022Official
        except ImportError:
            raise BadArgument("this base codec needs compressai (Python below 3.13)") from None
        self.elic = Elic2022Official(N=n, M=m)
        self.gain = Gain(m, 1.0)
        self.inverse = Gain(m, -1.0)
        self.shape = {"n": n, "m": m}

    def forward(self, x: Tensor, qp: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Code a batch with noise or straight-through rounding, as compressai trains.

        Args:
            x: [B, 3, H, W] in 0..1, sides multiples of 64.
            qp: QPs 0..63 [B, H/16, W/16].

        Returns:
            x_hat, y_hat, and the likelihoods of "y" and "z".
        """
        y = self.gain(self.elic.g_a(x), qp)
        coded = self.elic.latent_codec(y)
        y_hat = coded["y_hat"]
        return self.elic.g_s(self.inverse(y_hat, qp)), y_hat, coded["likelihoods"]


class ElicCodec:
    """Files of GainedElic, with a QP map and any guide of codec.guidance.

    Args:
        network: with its weights; frozen here.
        name: of the weights.
    """

    portable = False

    def __init__(self, network: GainedElic, name: str = "elic") -> None:
        self.network = network.eval().requires_grad_(False)
        self.network.elic.update(force=True)
        self.name = name
        self.fingerprint = fingerprint_of(network)

    @torch.inference_mode()
    def encode(
        self,
        pixels: Pixels,
        quality: float = 50,
        guide: Guide | None = None,
        strength: float = STRENGTH,
        qp_map: NDArray[np.int64] | None = None,
    ) -> bytes:
        """Encode a picture.

        Args:
            pixels: uint8 [H, W, 3].
            quality: 0..100, if there is no `qp_map`.
            guide: where steps are finer; None for uniform steps.
            strength: of the guide, 0..1.
            qp_map: QPs 0..63 on cells, in place of quality and guide.

        Returns:
            The file. It is not portable between machines.

        Raises:
            BadArgument: a value is out of range.
        """
        grid = latent_grid(*pixels.shape[:2])
        base = quality_to_qp(quality)
        field = None if qp_map is None else maps.check_map(qp_map, *grid)
        if field is None and guide is not None:
            field = Guidance(guide, strength, pixels).plan(base).qp_map
        section = b""
        offsets = None
        if field is not None:
            base, offsets = maps.split_map(field)
            section = maps.encode_offsets(offsets)
        x = _padded(pixels)
        qp = _field(base, offsets, grid, x)
        y = self.network.gain(self.network.elic.g_a(x), qp)
        coded = self.network.elic.latent_codec.compress(y)
        body = boxed(0, (pixels.shape[0], pixels.shape[1]), coded)
        # The decoder's y_hat may differ in the last bits from the encoder's, so it is computed.
        y_hat = self._y_hat(coded["strings"], coded["shape"])
        head = HEAD.pack(MAGIC, self.fingerprint, base, _checksum(y_hat), len(section))
        return head + section + body

    @torch.inference_mode()
    def decode(self, data: bytes) -> Pixels:
        """Decode a file.

        Args:
            data: from `encode` on this machine, or one that computes exactly alike.

        Returns:
            uint8 [H, W, 3].

        Raises:
            NotACotamFile: the data is of another kind.
            WrongModel: other weights wrote the file.
            Corrupt: the file is damaged, or this machine computes otherwise.
        """
        if len(data) < HEAD.size or not data.startswith(MAGIC):
            raise NotACotamFile("this is no file of ELIC with gains")
        _, fingerprint, base, checksum, length = HEAD.unpack_from(data)
        if fingerprint != self.fingerprint:
            raise WrongModel(
                f"the file was encoded with weights {fingerprint.hex()}, not '{self.name}' "
                f"({self.fingerprint.hex()}); load those"
            )
        at = HEAD.size + length
        try:
            _, (height, width), strings, shape = unboxed(data[at:])
            grid = latent_grid(height, width)
            offsets = maps.decode_offsets(data[HEAD.size : at], *grid) if length else None
            y_hat = self._y_hat(strings, shape)
        except Corrupt:
            raise
        except Exception as error:  # compressai's decoder raises any type over damaged strings
            raise Corrupt(f"the strings cannot be read ({type(error).__name__})") from None
        if _checksum(y_hat) != checksum:
            raise Corrupt(f"this machine finds other latents than the encoder's: {NOT_PORTABLE}")
        rows, columns = y_hat.shape[-2:]
        qp = _field(base, offsets, grid, y_hat.new_zeros(1, 3, 16 * rows, 16 * columns))
        x_hat = self.network.elic.g_s(self.network.inverse(y_hat, qp))[0, :, :height, :width]
        return x_hat.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()

    def _y_hat(self, strings: Any, shape: Any) -> Tensor:
        y_hat: Tensor = self.network.elic.latent_codec.decompress(strings, shape)["y_hat"]
        return y_hat


def _padded(pixels: Pixels) -> Tensor:
    """A picture as [1, 3, H, W] in 0..1, its edge repeated to multiples of 64."""
    height, width = pixels.shape[:2]
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    x = torch.from_numpy(planes)[None].float() / 255
    return F.pad(x, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")


def _field(
    base: int, offsets: NDArray[np.int64] | None, grid: tuple[int, int], x: Tensor
) -> Tensor:
    """QPs of the padded picture's latents [1, H/16, W/16]."""
    rows, columns = x.shape[2] // 16, x.shape[3] // 16
    field = np.broadcast_to(np.asarray(maps.qp_field(base, offsets, *grid)), grid)
    padded = np.pad(field, ((0, rows - grid[0]), (0, columns - grid[1])), "edge")
    return torch.from_numpy(padded.astype(np.int64))[None]


def _checksum(y_hat: Tensor) -> int:
    return zlib.crc32(y_hat.contiguous().numpy().tobytes())


def fingerprint_of(network: GainedElic) -> bytes:
    """First bytes of a SHA-256 over all parameters."""
    digest = hashlib.sha256(FORMAT.encode())
    for name, values in sorted(network.named_parameters()):
        digest.update(name.encode())
        digest.update(values.detach().cpu().contiguous().numpy().tobytes())
    return digest.digest()[:FINGERPRINT_BYTES]


def save_elic(path: Path, network: GainedElic, metadata: dict[str, Any]) -> None:
    """Write a network's parameters in float16.

    Args:
        path: the file.
        network: with trained weights.
        metadata: how it was trained.
    """
    arrays = {name: v.detach().cpu().numpy() for name, v in network.named_parameters()}
    safetensors_file.write(path, FORMAT, arrays, metadata | {"shape": network.shape})


@lru_cache(maxsize=2)
def load_elic(path: Path) -> ElicCodec:
    """Load a codec. Raises UnknownModel where the file holds none."""
    arrays, metadata = safetensors_file.read(path, FORMAT, KIND)
    try:
        network = GainedElic(**metadata["shape"])
        parameters = dict(network.named_parameters())
        if parameters.keys() != arrays.keys():
            raise KeyError("parameters")
        with torch.no_grad():
            for name, values in parameters.items():
                values.copy_(torch.from_numpy(arrays[name]))
    except (KeyError, TypeError, RuntimeError) as error:
        raise UnknownModel(f"{path} holds no {KIND} ({type(error).__name__})") from None
    return ElicCodec(network, path.stem)


def codec_of(name: str) -> CodecUnderTest:
    """The codec under test `elic-gain:FILE` or `elic-gain:FILE@GUIDE`.

    Raises:
        UnknownModel: the file holds no such weights.
        BadArgument: there is no such guide.
    """
    place, _, guided = name.partition("@")
    elic = load_elic(Path(place))
    guide = choose(guided) if guided else None

    def encode(pixels: Pixels, quality: float) -> bytes:
        return elic.encode(pixels, quality, guide)

    return CodecUnderTest(
        f"ELIC with gains{f', {guided}' if guided else ''}",
        f"{FORMAT} {elic.fingerprint.hex()} {guided or 'uniform'}, {NOT_PORTABLE}",
        QUALITIES,
        encode,
        elic.decode,
        int(BEST_QUALITY),
        continuous=True,
        parameters=sum(p.numel() for p in elic.network.parameters()),
    )
