"""The order of encoding and decoding, over any backend. numpy only.

Arrays are [rows, columns, channels]. y is coded in layers (networks.config.LatentLayer): first the
few channels of the preview, then the others. Each layer takes four steps.

::

    pixels -> analysis -> y -> hyper_analysis -> z      (a Tuner may refine y; z stays)
    features(layer, z, QP) -> for each of four steps:
        prior_step -> mean, scale index -> symbol = round(y - mean)
    z (with the first layer), symbols --push--> one rANS stack a layer

    stack --pop--> z -> features -> four steps: prior_step, pop -> y_hat = symbol + mean
    y_hat of all layers -> synthesis -> pixels;  the first layer alone -> preview at 1/8
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec import memory
from codec.bitstream.container import Reader, put_varint
from codec.bitstream.rans import Decoder, Encoder
from codec.coding.backend import Backend, QpField
from codec.coding.latent_grid import (
    CELL,
    STEPS,
    STRIDE,
    Floats,
    Meter,
    latent_grid,
    merge_steps,
    pad,
    step_of,
    whole_cells,
)
from codec.coding.rdoq import rounded
from codec.coding.tiled_backend import TiledBackend
from codec.errors import BadArgument, Corrupt, Truncated
from codec.networks.config import SCALE_COUNT, Z_LIMIT, LatentLayer

PREVIEW = 8
CODER_BITS = 128  # what the coder's own state may hold
Refine = Callable[[Floats, Floats], Floats]  # y [4 a, 4 b, M], z -> the y that is coded instead


@dataclass
class Latents:
    """Coded latents.

    Attributes:
        data: the layers' stacks.
        bits: float32 [h, w], spent at each latent position, those of z included; None if not
            counted.
        merge: computes y_hat; None once that is done.
    """

    data: bytes
    bits: Floats | None
    merge: Callable[[], Floats] | None

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle with y_hat computed, so that no networks are pickled."""
        return {"data": self.data, "bits": self.bits, "y_hat": self.y_hat, "merge": None}

    @cached_property
    def y_hat(self) -> Floats:
        """float32 [h, w, M], computed when it is first used: most encodes never need it."""
        assert self.merge is not None
        y_hat = self.merge()
        # Frees the sets that y_hat was computed from.
        self.merge = None
        return y_hat


@dataclass
class Stopwatch:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def _join(parts: list[bytes]) -> bytes:
    """Join the stacks of the layers; each but the last is preceded by its length."""
    return b"".join(put_varint(len(part)) + part for part in parts[:-1]) + parts[-1]


def _split(data: bytes, count: int) -> list[bytes]:
    reader = Reader(data)
    try:
        parts = [reader.take(reader.varint()) for _ in range(count - 1)]
    except Truncated:
        raise Corrupt("a layer of the latents is longer than the space it is in") from None
    return [*parts, data[reader.at :]]


class Pipeline:
    """Pixels <-> entropy-coded latents."""

    def __init__(self, backend: Backend) -> None:
        self.backend = TiledBackend(backend)
        self.tables = backend.checkpoint.tables
        self.layers = backend.checkpoint.layers
        self.skip_below = backend.checkpoint.skip_below
        self.margins = backend.checkpoint.margins
        self.rate_weight = backend.checkpoint.rate_weight
        table_costs = np.split(self.tables.costs, self.tables.starts[1:])
        self.least_bits = float(sum(costs.min() for costs in table_costs[SCALE_COUNT:]))

    def encode(
        self,
        pixels: NDArray[np.uint8],
        qp: QpField,
        watch: Stopwatch,
        want_bits: bool = False,
        thrift: Floats | None = None,
        refine: Refine | None = None,
    ) -> Latents:
        """Encode a picture. The decoder needs neither `thrift` nor `refine`.

        Args:
            pixels: uint8 [H, W, 3].
            qp: one QP, or QPs [h, w] on the latent grid.
            watch: where seconds are added.
            want_bits: count the bits of every latent position.
            thrift: [h, w], factors of what a bit is worth in RDOQ; None for 1 everywhere.
            refine: changes y before it is coded (tuning.Tuner).

        Returns:
            The latents.
        """
        rows, cols = latent_grid(*pixels.shape[:2])
        with watch.stage("analysis"):
            y = self.backend.analysis(pixels, qp)
            # z need not be exact, because the file stores it.
            z = np.clip(np.rint(self.backend.hyper_analysis(y)), -Z_LIMIT, Z_LIMIT).astype(
                np.float32
            )
        if refine is not None:
            with watch.stage("tune"):
                y = refine(y, z)
        meter = Meter(self.tables, want_bits, rows, cols)
        valid = self._valid(rows, cols)
        weights = self._rounding_weights(thrift, y.shape[:2])
        decoded: list[Floats] = []
        parts = []
        for layer in self.layers:
            encoder = Encoder(self.tables)
            # Every layer's prior needs z, so the first stack begins with it.
            if layer is self.layers[0]:
                self._push_z(encoder, z, watch, meter)
            features = self._features(layer, z, qp, watch)
            for step in range(STEPS):
                with watch.stage("prior"):
                    mean, index = self.backend.prior_step(layer, step, features, decoded)
                with watch.stage("entropy"):
                    self._push_step(
                        encoder,
                        step,
                        (y[..., layer.start : layer.stop], mean, index),
                        valid,
                        weights[step],
                        meter,
                    )
                # Coding has added the symbols: the means have become y_hat.
                decoded.append(mean)
            with watch.stage("entropy"):
                parts.append(encoder.finish())
        return Latents(_join(parts), meter.total(), partial(self._merged, decoded, rows, cols))

    def _push_step(
        self,
        encoder: Encoder,
        step: int,
        arrays: tuple[Floats, Floats, NDArray[np.uint8]],
        valid: list[NDArray[np.bool_]] | None,
        weights: Floats | None,
        meter: Meter,
    ) -> None:
        """Round and push a step's set.

        arrays: the layer's y; the step's means, which become y_hat; its scale indexes.
        """
        y, mean, index = arrays
        symbols_of = []
        ids_of = []
        # Bands are measured by strides: a layer's channels share their memory pages with the
        # channels of all other layers.
        for band in memory.bands(len(mean), 2 * y.strides[0]):
            where = self._coded(index[band], valid, step, band)
            means = mean[band].reshape(-1)
            ids = index[band].reshape(-1)[where]
            expected = means[where]
            residual = (
                step_of(y[2 * band.start : 2 * band.stop], step).reshape(-1)[where] - expected
            )
            # Weights are [h, w, 4], by place and channel modulo 4.
            weight = (
                self.rate_weight
                if weights is None
                else weights[band].reshape(-1)[4 * (where // mean.shape[2]) + where % 4]
            )
            symbols = rounded(self.tables, residual, ids, weight)
            means[where] = expected + symbols
            symbols_of.append(symbols)
            ids_of.append(ids)
            meter.add_step(step, band, mean[band].shape, where, symbols, ids)
            memory.release(y, mean, index)
        encoder.push(memory.joined(symbols_of), memory.joined(ids_of))

    def _push_z(self, encoder: Encoder, z: Floats, watch: Stopwatch, meter: Meter) -> None:
        with watch.stage("entropy"):
            symbols = z.ravel().astype(np.int32)
            ids = self._z_ids(*z.shape[:2])
            encoder.push(symbols, ids)
            meter.add_z(symbols, ids, z.shape)

    def decode(
        self,
        data: bytes,
        qp: QpField,
        rows: int,
        cols: int,
        watch: Stopwatch,
        want_bits: bool = False,
        layers: int | None = None,
    ) -> Latents:
        """Decode latents.

        Args:
            data: from `encode`.
            qp: as for `encode`.
            rows: of the latent grid.
            cols: of the latent grid.
            watch: where seconds are added.
            want_bits: count the bits of every latent position, if all layers are decoded.
            layers: how many layers to decode; None for all.

        Returns:
            The latents.

        Raises:
            Corrupt: the data is damaged.
        """
        a = whole_cells(rows) // CELL
        b = whole_cells(cols) // CELL
        # Every position of z costs at least its cheapest symbols. A short file that claims a huge
        # picture is refused before memory is taken.
        if 8 * len(data) + CODER_BITS < a * b * self.least_bits:
            raise Corrupt(
                f"the file is too short for a picture of {cols * STRIDE}x{rows * STRIDE} pixels"
            )
        meter = Meter(self.tables, want_bits and layers is None, rows, cols)
        valid = self._valid(rows, cols)
        decoded: list[Floats] = []
        z: Floats = np.zeros((0, 0, 0), np.float32)
        for layer, part in zip(self.layers[:layers], _split(data, len(self.layers))):
            with watch.stage("entropy"):
                decoder = Decoder(self.tables, part)
            if layer is self.layers[0]:
                z = self._pop_z(decoder, a, b, watch, meter)
            features = self._features(layer, z, qp, watch)
            for step in range(STEPS):
                with watch.stage("prior"):
                    mean, index = self.backend.prior_step(layer, step, features, decoded)
                with watch.stage("entropy"):
                    self._pop_step(decoder, step, mean, index, valid, meter)
                decoded.append(mean)
            with watch.stage("entropy"):
                decoder.finish()
        return Latents(data, meter.total(), partial(self._merged, decoded, rows, cols))

    def _pop_step(
        self,
        decoder: Decoder,
        step: int,
        mean: Floats,
        index: NDArray[np.uint8],
        valid: list[NDArray[np.bool_]] | None,
        meter: Meter,
    ) -> None:
        """Pop a step's symbols and add them to its means, which become y_hat."""
        # All symbols of a step are popped at once, because they were sorted by table together.
        cut = list(memory.bands(len(mean), mean[:1].nbytes))
        coded = [self._coded(index[band], valid, step, band) for band in cut]
        ids = memory.joined([index[band].reshape(-1)[where] for band, where in zip(cut, coded)])
        symbols = decoder.pop(ids)
        start = 0
        for band, where in zip(cut, coded):
            part = slice(start, start + len(where))
            mean[band].reshape(-1)[where] += symbols[part]
            meter.add_step(step, band, mean[band].shape, where, symbols[part], ids[part])
            memory.release(mean, index)
            start = part.stop

    def _pop_z(self, decoder: Decoder, a: int, b: int, watch: Stopwatch, meter: Meter) -> Floats:
        with watch.stage("entropy"):
            ids = self._z_ids(a, b)
            symbols = decoder.pop(ids)
            # A hostile file may hold larger values, for which the prior would not be exact.
            z = np.clip(symbols, -Z_LIMIT, Z_LIMIT).astype(np.float32).reshape(a, b, -1)
            meter.add_z(symbols, ids, z.shape)
        return z

    def preview(
        self, data: bytes, qp: QpField, height: int, width: int, watch: Stopwatch
    ) -> NDArray[np.uint8]:
        """Decode a small picture from the first layer alone.

        Args:
            data: from `encode`.
            qp: as for `encode`.
            height: of the full picture in pixels.
            width: of the full picture in pixels.
            watch: where seconds are added.

        Returns:
            uint8 [ceil(H / 8), ceil(W / 8), 3].

        Raises:
            Corrupt: the data is damaged.
            BadArgument: the weights have no preview layer.
        """
        if len(self.layers) < 2:
            raise BadArgument("these weights have no preview layer")
        low = self.decode(data, qp, *latent_grid(height, width), watch, layers=1)
        with watch.stage("preview"):
            return self.backend.preview(low.y_hat, qp)[
                : -(-height // PREVIEW), : -(-width // PREVIEW)
            ]

    def _merged(self, sets: list[Floats], rows: int, cols: int) -> Floats:
        """Merge the decoded sets of all layers to y_hat [rows, cols, M]."""
        channels = sum(values.shape[2] for values in sets[::STEPS])
        y_hat = memory.empty((whole_cells(rows), whole_cells(cols), channels), np.float32)
        for layer, first in zip(self.layers, range(0, len(sets), STEPS)):
            of_layer = sets[first : first + STEPS]
            for band in memory.bands(len(of_layer[0]), 2 * y_hat.strides[0]):
                place = y_hat[2 * band.start : 2 * band.stop, :, layer.start : layer.stop]
                merge_steps([values[band] for values in of_layer], place)
                memory.release(y_hat, *of_layer)
        return y_hat[:rows, :cols]

    def reconstruct(
        self, y_hat: Floats, qp: QpField, height: int, width: int, watch: Stopwatch
    ) -> NDArray[np.uint8]:
        """Compute the pixels of decoded latents.

        Args:
            y_hat: float32 [h, w, M].
            qp: as for `encode`.
            height: of the picture in pixels.
            width: of the picture in pixels.
            watch: where seconds are added.

        Returns:
            uint8 [H, W, 3].
        """
        with watch.stage("synthesis"):
            return self.backend.synthesis(y_hat, qp)[:height, :width]

    def _z_ids(self, a: int, b: int) -> NDArray[np.uint8]:
        channels = np.arange(SCALE_COUNT, len(self.tables), dtype=np.uint8)
        return np.tile(channels, a * b)

    def _features(self, layer: LatentLayer, z: Floats, qp: QpField, watch: Stopwatch) -> Any:
        with watch.stage("prior"):
            rows = z.shape[0] * CELL
            cols = z.shape[1] * CELL
            field = qp if isinstance(qp, int) else pad(qp, rows, cols, "edge")
            return self.backend.features(layer, z, field)

    def _valid(self, rows: int, cols: int) -> list[NDArray[np.bool_]] | None:
        """Per step, which entries of a set [h, w, 4] lie inside the picture's latent grid.

        None when all do.
        """
        whole = whole_cells(rows), whole_cells(cols)
        if (rows, cols) == whole:
            return None
        inside = np.zeros((*whole, 4), bool)
        inside[:rows, :cols] = True
        return [step_of(inside, step) for step in range(STEPS)]

    def _coded(
        self,
        index: NDArray[np.uint8],
        valid: list[NDArray[np.bool_]] | None,
        step: int,
        band: slice,
    ) -> NDArray[np.intp]:
        """Flat indexes of the symbols of a band that are coded."""
        coded = index >= self.skip_below
        if valid is not None:
            coded &= np.tile(valid[step][band], (1, 1, index.shape[2] // 4))
        return np.flatnonzero(coded)

    def _rounding_weights(
        self, thrift: Floats | None, shape: tuple[int, ...]
    ) -> list[Floats | None]:
        """For each step, what a bit is worth [h, w, 4], by place and channel modulo 4.

        None for one weight everywhere.
        """
        if thrift is None:
            return [None] * STEPS
        padded = pad(
            np.repeat(thrift[..., None].astype(np.float32), 4, 2), shape[0], shape[1], "edge"
        )
        return [self.rate_weight * step_of(padded, step) for step in range(STEPS)]
