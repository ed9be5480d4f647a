"""The order of encoding and decoding, over any backend. No torch here; arrays are [rows, columns, channels].

y is coded in layers (networks.config.Layer): first the few channels of the preview, then the others; each in four steps.

::

    pixels -> analysis -> y -> hyper_analysis -> z
              features(layer, z, QP) --> for each of four steps: prior_step -> mean, scale index -> symbol = round(y - mean)
                                                         z (with the first), symbols --push--> one rANS stack a layer
    stack of the layer --pop--> z -> features -> four steps: prior_step, pop -> y_hat = symbol + mean
    y_hat, all layers -> synthesis -> pixels;   the first layer alone -> preview -> pixels at 1/8
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.container import Reader, put_varint
from codec.bitstream.rans import SYMBOL_LIMIT, Decoder, Encoder, Tables
from codec.errors import BadArgument, Corrupt, Truncated
from codec.networks.config import Layer
from codec.tiles import LARGEST, tiles

Floats = NDArray[np.float32]
QpField = int | NDArray[np.int64]

STRIDE = 16
PREVIEW = 8
CELL = 4
STEPS = 4
SCALES = 64
Z_LIMIT = 31
RATE_WEIGHT = 0.06
CODER_BITS = 128  # what the coder's own state may hold
POSITIONS = ((0, 0), (1, 1), (0, 1), (1, 0))


class Weights(Protocol):
    """What the pipeline must know of weights; see checkpoint.Checkpoint and backends.manifest.Exported."""

    @property
    def name(self) -> str: ...
    @property
    def skip_below(self) -> int: ...
    @property
    def layers(self) -> tuple[Layer, ...]: ...
    @property
    def margins(self) -> tuple[int, int]: ...
    @property
    def tables(self) -> Tables: ...
    @property
    def fingerprint(self) -> bytes: ...


class Backend(Protocol):
    """The calls that need a network. Features are whatever the backend likes; the rest are arrays on the host.

    qp: one QP, or int64 [rows, cols] at the grid of the array it goes with.
    """

    @property
    def checkpoint(self) -> Weights: ...

    def analysis(self, pixels: NDArray[np.uint8], qp: QpField) -> Floats:
        """[16 h, 16 w, 3] -> y [h, w, M]."""

    def hyper_analysis(self, y: Floats) -> Floats:
        """[4 a, 4 b, M] -> z [a, b, Z], not rounded."""

    def features(self, layer: Layer, z: Floats, qp: QpField) -> Any:
        """What the prior of a layer starts from, integer-exact; z: integers [a, b, Z]; qp at [4 a, 4 b]."""

    def prior_step(self, layer: Layer, step: int, features: Any, decoded: list[Floats]) -> tuple[Floats, NDArray[np.uint8]]:
        """(mean [2 a, 2 b, C] in multiples of 1/16, scale index 0..63) of the layer's C channels, integer-exact.

        decoded: y_hat of all sets before, the layers before it first.
        """

    def dequantised(self, y_hat: Floats, qp: QpField) -> Floats:
        """[h, w, M] -> the same in units that do not depend on the QP."""

    def synthesis(self, y_hat: Floats, qp: QpField) -> NDArray[np.uint8]:
        """[h, w, M] -> [16 h, 16 w, 3]."""

    def preview(self, y_hat: Floats, qp: QpField) -> NDArray[np.uint8]:
        """The first layer's [h, w, C] -> [2 h, 2 w, 3]."""


@dataclass
class Latents:
    """What the coder saw. y_hat: float32 [h, w, M]; bits: float32 [h, w] spent at each latent position, z's included, if asked."""

    data: bytes
    y_hat: Floats
    bits: Floats | None


@dataclass
class Stopwatch:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def latent_grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of y for a picture."""
    return -(-height // STRIDE), -(-width // STRIDE)


def split_steps(y: NDArray[Any]) -> list[NDArray[Any]]:
    """[2 h, 2 w, M] -> four sets [h, w, M]; step s holds channel c at position POSITIONS[s XOR c mod 4] of each 2x2 cell."""
    rows, cols, m = y.shape
    cells = y.reshape(rows // 2, 2, cols // 2, 2, m // 4, 4)
    sets = []
    for step in range(STEPS):
        out = np.empty((rows // 2, cols // 2, m // 4, 4), y.dtype)
        for group in range(4):
            i, j = POSITIONS[step ^ group]
            out[..., group] = cells[:, i, :, j, :, group]
        sets.append(out.reshape(rows // 2, cols // 2, m))
    return sets


def merge_steps(sets: list[NDArray[Any]]) -> NDArray[Any]:
    """The inverse of `split_steps`."""
    h, w, m = sets[0].shape
    y = np.empty((h, 2, w, 2, m // 4, 4), sets[0].dtype)
    for step, values in enumerate(sets):
        parts = values.reshape(h, w, m // 4, 4)
        for group in range(4):
            i, j = POSITIONS[step ^ group]
            y[:, i, :, j, :, group] = parts[..., group]
    return y.reshape(2 * h, 2 * w, m)


def _pad(array: NDArray[Any], rows: int, cols: int, mode: Any) -> NDArray[Any]:
    missing = [(0, rows - array.shape[0]), (0, cols - array.shape[1])] + [(0, 0)] * (array.ndim - 2)
    return np.pad(array, missing, mode=mode) if rows > array.shape[0] or cols > array.shape[1] else array


def _join(parts: list[bytes]) -> bytes:
    """The stacks of the layers; each but the last has its length before it."""
    return b"".join(put_varint(len(part)) + part for part in parts[:-1]) + parts[-1]


def _split(data: bytes, count: int) -> list[bytes]:
    reader = Reader(data)
    try:
        parts = [reader.take(reader.varint()) for _ in range(count - 1)]
    except Truncated:
        raise Corrupt("a layer of the latents is longer than the space it is in") from None
    return [*parts, data[reader.at :]]


class _Meter:
    """Adds up the bits spent per latent position, where somebody asked for them."""

    def __init__(self, tables: Tables, wanted: bool) -> None:
        self.tables, self.wanted = tables, wanted
        self.y: Floats | float = 0.0
        self.steps: list[Floats] = []

    def add_z(self, symbols: NDArray[np.int32], ids: NDArray[np.uint8], shape: tuple[int, ...]) -> None:
        if self.wanted:
            self.z = self.tables.bits(symbols, ids).reshape(shape).sum(2)

    def add_step(self, symbols: Floats, index: NDArray[np.uint8], coded: NDArray[np.bool_]) -> None:
        if self.wanted:
            self.steps.append(np.where(coded, self.tables.bits(symbols.astype(np.int32), index), np.float32(0)))
            if len(self.steps) == STEPS:
                self.y = self.y + merge_steps(self.steps).sum(2)
                self.steps = []

    def total(self, rows: int, cols: int) -> Floats | None:
        """[rows, cols]; the bits of a z position are shared by the latent positions below it."""
        if not self.wanted:
            return None
        y = np.asarray(self.y)
        z = np.repeat(np.repeat(self.z, CELL, 0), CELL, 1)[:rows, :cols]
        return y[:rows, :cols] + z * (self.z.sum() / max(float(z.sum()), 1e-9))


class Pipeline:
    """Pixels <-> entropy-coded latents."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.tables = backend.checkpoint.tables
        self.layers = backend.checkpoint.layers
        self.skip_below = backend.checkpoint.skip_below
        self.margins = backend.checkpoint.margins
        self.least_bits = float(sum(part.min() for part in np.split(self.tables.costs, self.tables.starts[1:])[SCALES:]))

    def encode(
        self, pixels: NDArray[np.uint8], qp: QpField, watch: Stopwatch, want_bits: bool = False, thrift: Floats | None = None
    ) -> Latents:
        """pixels [H, W, 3]; qp: one QP or [h, w] on the latent grid; thrift: [h, w], how much more than elsewhere a bit counts in
        rounding there (1: as usual). The decoder need not know it.
        """
        rows, cols = latent_grid(*pixels.shape[:2])
        with watch.stage("analysis"):
            y = self._analysis(pixels, qp, rows, cols)
            padded = _pad(y, -(-rows // CELL) * CELL, -(-cols // CELL) * CELL, "constant")
            z = np.clip(np.rint(self.backend.hyper_analysis(padded)), -Z_LIMIT, Z_LIMIT).astype(np.float32)
        meter = _Meter(self.tables, want_bits)
        valid = self._valid(rows, cols, padded.shape)
        weights = self._rounding_weights(thrift, padded.shape[:2])
        decoded: list[Floats] = []
        parts = []
        for layer in self.layers:
            encoder = Encoder(self.tables)
            if layer is self.layers[0]:
                self._push_z(encoder, z, watch, meter)
            features = self._features(layer, z, qp, watch)
            for step, values in enumerate(split_steps(padded[..., layer.start : layer.stop])):
                with watch.stage("prior"):
                    mean, index = self.backend.prior_step(layer, step, features, decoded)
                with watch.stage("entropy"):
                    coded = self._coded(index, valid, step)
                    symbols = self._symbols(values - mean, index, coded, weights[step])
                    encoder.push(symbols[coded].astype(np.int32), index[coded])
                    decoded.append(mean + symbols)
                    meter.add_step(symbols, index, coded)
            with watch.stage("entropy"):
                parts.append(encoder.finish())
        return Latents(_join(parts), self._merge(decoded)[:rows, :cols], meter.total(rows, cols))

    def _analysis(self, pixels: NDArray[np.uint8], qp: QpField, rows: int, cols: int) -> Floats:
        """y [rows, cols, M], large pictures in tiles."""
        if max(rows, cols) <= LARGEST:
            return self.backend.analysis(_pad(pixels, rows * STRIDE, cols * STRIDE, "edge"), qp)
        y: Floats = np.empty((rows, cols, self.layers[-1].stop), np.float32)
        for row, col in tiles(rows, cols, self.margins[0]):
            part = pixels[row.seen(STRIDE), col.seen(STRIDE)]
            part = _pad(part, (row.last - row.first) * STRIDE, (col.last - col.first) * STRIDE, "edge")
            seen = self.backend.analysis(part, qp if isinstance(qp, int) else qp[row.seen(), col.seen()])
            y[row.kept(), col.kept()] = seen[row.inside(), col.inside()]
        return y

    def _push_z(self, encoder: Encoder, z: Floats, watch: Stopwatch, meter: _Meter) -> None:
        with watch.stage("entropy"):
            symbols, ids = z.ravel().astype(np.int32), self._z_ids(*z.shape[:2])
            encoder.push(symbols, ids)
            meter.add_z(symbols, ids, z.shape)

    def decode(
        self, data: bytes, qp: QpField, rows: int, cols: int, watch: Stopwatch, want_bits: bool = False, layers: int | None = None
    ) -> Latents:
        """The inverse as far as y_hat; layers: how many of them, all if not given. Raises Corrupt."""
        a, b = -(-rows // CELL), -(-cols // CELL)
        if 8 * len(data) + CODER_BITS < a * b * self.least_bits:  # every z costs at least its cheapest symbols
            raise Corrupt(f"the file is too short for a picture of {cols * STRIDE}x{rows * STRIDE} pixels")
        meter = _Meter(self.tables, want_bits)
        valid = self._valid(rows, cols, (a * CELL, b * CELL))
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
                    coded = self._coded(index, valid, step)
                    symbols = np.zeros(index.shape, np.float32)
                    symbols[coded] = decoder.pop(index[coded])
                    decoded.append(mean + symbols)
                    meter.add_step(symbols, index, coded)
            with watch.stage("entropy"):
                decoder.finish()
        return Latents(data, self._merge(decoded)[:rows, :cols], meter.total(rows, cols) if layers is None else None)

    def _pop_z(self, decoder: Decoder, a: int, b: int, watch: Stopwatch, meter: _Meter) -> Floats:
        with watch.stage("entropy"):
            ids = self._z_ids(a, b)
            symbols = decoder.pop(ids)
            z = np.clip(symbols, -Z_LIMIT, Z_LIMIT).astype(np.float32).reshape(a, b, -1)
            meter.add_z(symbols, ids, z.shape)
        return z

    def preview(self, data: bytes, qp: QpField, height: int, width: int, watch: Stopwatch) -> NDArray[np.uint8]:
        """Pixels [ceil(H / 8), ceil(W / 8), 3] from the first layer alone. Raises Corrupt, BadArgument where there is but one."""
        if len(self.layers) < 2:
            raise BadArgument("these weights have no preview layer")
        low = self.decode(data, qp, *latent_grid(height, width), watch, layers=1)
        with watch.stage("preview"):
            return self.backend.preview(low.y_hat, qp)[: -(-height // PREVIEW), : -(-width // PREVIEW)]

    def _merge(self, sets: list[Floats]) -> Floats:
        return np.concatenate([merge_steps(sets[i : i + STEPS]) for i in range(0, len(sets), STEPS)], 2)

    def reconstruct(self, y_hat: Floats, qp: QpField, height: int, width: int, watch: Stopwatch) -> NDArray[np.uint8]:
        """y_hat -> pixels [H, W, 3], large pictures in tiles."""
        rows, cols = y_hat.shape[:2]
        with watch.stage("synthesis"):
            if max(rows, cols) <= LARGEST:
                return self.backend.synthesis(y_hat, qp)[:height, :width]
            pixels = np.empty((height, width, 3), np.uint8)
            for row, col in tiles(rows, cols, self.margins[1]):
                part = qp if isinstance(qp, int) else qp[row.seen(), col.seen()]
                made = self.backend.synthesis(y_hat[row.seen(), col.seen()], part)[row.inside(STRIDE), col.inside(STRIDE)]
                place = pixels[row.kept(STRIDE), col.kept(STRIDE)]
                place[...] = made[: place.shape[0], : place.shape[1]]
            return pixels

    def _z_ids(self, a: int, b: int) -> NDArray[np.uint8]:
        channels = np.arange(SCALES, len(self.tables), dtype=np.uint8)
        return np.tile(channels, a * b)

    def _features(self, layer: Layer, z: Floats, qp: QpField, watch: Stopwatch) -> Any:
        with watch.stage("prior"):
            field = qp if isinstance(qp, int) else _pad(qp, z.shape[0] * CELL, z.shape[1] * CELL, "edge")
            return self.backend.features(layer, z, field)

    def _valid(self, rows: int, cols: int, padded: tuple[int, ...]) -> list[NDArray[np.bool_]] | None:
        """Per step, which entries of a set lie inside the picture's latent grid; None when all do."""
        if (rows, cols) == tuple(padded[:2]):
            return None
        inside = np.zeros((padded[0], padded[1], 4), bool)
        inside[:rows, :cols] = True
        return split_steps(inside)

    def _coded(self, index: NDArray[np.uint8], valid: list[NDArray[np.bool_]] | None, step: int) -> NDArray[np.bool_]:
        coded = index >= self.skip_below
        if valid is not None:
            coded &= np.tile(valid[step], (1, 1, index.shape[2] // 4))
        return coded

    def _rounding_weights(self, thrift: Floats | None, shape: tuple[int, ...]) -> list[Floats | None]:
        """Per step, the weight of a bit by place of the set and channel modulo 4: [places, 4]; None where all are alike."""
        if thrift is None:
            return [None] * STEPS
        padded = _pad(np.repeat(thrift[..., None].astype(np.float32), 4, 2), shape[0], shape[1], "edge")
        return [RATE_WEIGHT * weights.reshape(-1, 4) for weights in split_steps(padded)]

    def _symbols(self, residual: Floats, index: NDArray[np.uint8], coded: NDArray[np.bool_], weights: Floats | None) -> Floats:
        """The residual rounded, or one closer to zero where that saves `weights` (RATE_WEIGHT) times more bits than it adds
        squared error.

        At high rate a bit is worth 2 ln 2 / 12 = 0.116 squared steps; a smaller weight was measured to be best (docs/design.md).
        """
        symbols = np.rint(residual)
        symbols *= coded
        np.clip(symbols, 1 - SYMBOL_LIMIT, SYMBOL_LIMIT - 1, out=symbols)
        some = np.flatnonzero(symbols)
        flat, chosen, ids = symbols.ravel(), symbols.ravel()[some].astype(np.int32), index.ravel()[some]
        smaller = chosen - np.sign(chosen)
        saved = self.tables.bits(chosen, ids) - self.tables.bits(smaller, ids)
        off = residual.ravel()[some] - chosen
        added = 1 + 2 * off * np.sign(chosen)
        weight: Floats | float = RATE_WEIGHT
        if weights is not None:
            place, channel = np.divmod(some, residual.shape[2])
            weight = weights[place, channel % weights.shape[1]]
        flat[some] = np.where(added < weight * saved, smaller, chosen)
        return symbols
