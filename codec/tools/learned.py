"""The learned transform: analysis, integer-exact prior, rANS, synthesis.

::

    pixels, QP and QP map -> Pipeline.encode -> latents --+
                          \\-> QP map's bytes -------------+-> payload: QP | map | latents
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from codec.bitstream import container, qp_map
from codec.bitstream.container import Container, Reader, put_varint
from codec.coding.backend import Backend, QpField
from codec.coding.latent_grid import latent_grid
from codec.coding.pipeline import Latents, Pipeline, Refine, Stopwatch
from codec.coding.qp_field import field_of
from codec.errors import CodecError, Corrupt, Truncated
from codec.guidance import Plan
from codec.tools.interface import Pixels


@dataclass(frozen=True)
class LearnedSettings:
    """How the learned tool codes a picture.

    Attributes:
        qp: base QP 0..63.
        plan: the QP map and RDOQ weights of a guide.
        refiner: from pixels and QPs, what changes y before it is coded (tuning.Tuner).
        want_bits: also measure the bits of every latent position.
        watch: where seconds by stage are added.
    """

    qp: int
    plan: Plan = field(default_factory=Plan)
    refiner: Callable[[Pixels, QpField], Refine] | None = None
    want_bits: bool = False
    watch: Stopwatch = field(default_factory=Stopwatch)


@dataclass(frozen=True)
class Coded:
    """A picture as the learned tool coded it: base QP, coded QP map, latents and the QPs used."""

    qp: int
    qp_map: bytes | None
    latents: Latents
    field: QpField

    def payload(self) -> bytes:
        """QP and map flag (1 byte), [length of the map, map], latents."""
        flags = self.qp | container.MAP_FLAG * (self.qp_map is not None)
        coded_map = b"" if self.qp_map is None else put_varint(len(self.qp_map)) + self.qp_map
        return bytes([flags]) + coded_map + self.latents.data


class LearnedTool:
    """The learned tool over one set of weights; see tools.interface.Tool."""

    name = "learned"
    number = 0

    def __init__(self, backend: Backend) -> None:
        self.pipeline = Pipeline(backend)

    def encode(self, pixels: Pixels, settings: LearnedSettings) -> bytes:
        return self.code(pixels, settings).payload()

    def decode(self, payload: bytes, shape: tuple[int, int, int]) -> Pixels:
        reader = Reader(payload)
        try:
            flags = reader.byte()
            coded_map = reader.take(reader.varint()) if flags & container.MAP_FLAG else None
        except Truncated:
            raise Corrupt("the learned tool's payload ends too early") from None
        latents = payload[reader.at :]
        height, width = shape[:2]
        content = Container(width, height, flags & container.QP_MASK, b"", latents, coded_map)
        watch = Stopwatch()
        field, decoded = self.latents(content, watch, False)
        return self.pipeline.reconstruct(decoded.y_hat, field, height, width, watch)

    def code(self, pixels: Pixels, settings: LearnedSettings) -> Coded:
        """Code a picture [H, W, 3], with everything that is known about it on the way."""
        base = settings.qp
        offsets = None
        if settings.plan.qp_map is not None:
            base, offsets = qp_map.split_map(settings.plan.qp_map)
            offsets = offsets if offsets.any() else None
        grid = latent_grid(*pixels.shape[:2])
        field = qp_map.qp_field(base, offsets, *grid)
        refine = None if settings.refiner is None else settings.refiner(pixels, field)
        latents = self.pipeline.encode(
            pixels,
            field,
            settings.watch,
            settings.want_bits,
            settings.plan.thrift,
            refine,
        )
        coded_map = None if offsets is None else qp_map.encode_offsets(offsets)
        return Coded(base, coded_map, latents, field)

    def latents(
        self, content: Container, watch: Stopwatch, want_bits: bool
    ) -> tuple[QpField, Latents]:
        """The QPs and latents of a file. Raises Corrupt."""
        with corrupt_unless_typed():
            field = field_of(content)
            grid = latent_grid(content.height, content.width)
            return field, self.pipeline.decode(content.latents, field, *grid, watch, want_bits)

    def preview(self, content: Container, watch: Stopwatch) -> tuple[QpField, Pixels]:
        """The QPs and pixels [ceil(H / 8), ceil(W / 8), 3] of the first layer. Raises Corrupt."""
        with corrupt_unless_typed():
            field = field_of(content)
            size = content.height, content.width
            return field, self.pipeline.preview(content.latents, field, *size, watch)


@contextmanager
def corrupt_unless_typed() -> Iterator[None]:
    """Turn what goes wrong in the arithmetic of a hostile stream into Corrupt."""
    try:
        yield
    except CodecError:
        raise
    except (ValueError, IndexError, OverflowError) as error:
        raise Corrupt(
            f"the entropy-coded part cannot be decoded ({type(error).__name__})"
        ) from None
