"""The public API: pictures in, bytes out, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from codec import quality as rate
from codec.backends.manifest import MANIFEST
from codec.bitstream import container
from codec.bitstream import qp_map as stepfield
from codec.coding.backend import Backend, QpField, Weights
from codec.coding.latent_grid import latent_grid
from codec.coding.pipeline import PREVIEW, Latents, Pipeline, Stopwatch
from codec.errors import (
    BadArgument,
    CodecError,
    Corrupt,
    TargetTooSmall,
    WrongModel,
    only_codec_errors,
)
from codec.guidance import STRENGTH, Guidance, Guide, Plan, resolve
from codec.guidance.importance import Box
from codec.info import qp_field, weights_of
from codec.io import images, metadata
from codec.io.compose import WHITE
from codec.io.metadata import extras_of, picture_of
from codec.results import LEVELS, NOTHING, Decoded, Encoded, Level, Output
from codec.weights import checkpoint as checkpoints

if TYPE_CHECKING:
    from torch import Tensor

    from codec.tokens.adapters import Adapter
    from codec.towers import Tower
    from codec.tuning import Tuner

DEVICES = ("auto", "cpu", "cuda")


@only_codec_errors
def load(name_or_path: str | Path = "default", device: str = "auto") -> Codec:
    """A codec with weights by name (`models()`) or path, or with an exported half by its folder (codec.export; no torch then).

    device: auto, cpu or cuda. Raises UnknownModel or BadArgument.
    """
    if (Path(name_or_path) / MANIFEST).is_file():
        from codec.backends.onnx import OnnxBackend

        return Codec(OnnxBackend(Path(name_or_path), device))
    try:
        from codec.backends.torch import TorchBackend
    except ImportError as error:
        raise BadArgument(
            f"these weights need PyTorch, which is not here ({error}); load an exported half instead"
        ) from None
    return Codec(TorchBackend(checkpoints.load(name_or_path), device))


@lru_cache(maxsize=4)
def _kept(name: str, device: str) -> Codec:
    return load(name, device)


@only_codec_errors
def load_for(data: bytes, device: str = "auto") -> Codec:
    """The codec that a file was encoded with, kept for the next file. Raises CodecError for a bad file, WrongModel."""
    return _kept(weights_of(data), device)


@only_codec_errors
def decode(
    data: bytes,
    output: Output = "pil",
    level: Level = "pixels",
    device: str = "auto",
    background: Any = WHITE,
) -> Any:
    """A file's picture, by whichever shipped weights it was encoded with; see `Codec.decode`."""
    return load_for(data, device).decode(data, output, level, background)


class Codec:
    """Encodes and decodes with one set of weights; safe to use from several threads.

    ::

        picture -> images -> pixels -> Pipeline over a Backend -> latents --+-> container -> bytes
                        \\-> alpha, profile, EXIF ---------------------------+
    """

    def __init__(
        self,
        backend: Backend,
        limit_pixels: int = container.DEFAULT_LIMIT_PIXELS,
        limit_memory: int = container.DEFAULT_LIMIT_MEMORY,
    ) -> None:
        self.backend = backend
        self.pipeline = Pipeline(backend)
        self.limit_pixels = limit_pixels
        self.limit_memory = limit_memory

    @property
    def fingerprint(self) -> str:
        """Hexadecimal; files of this codec carry it."""
        return self.backend.checkpoint.fingerprint.hex()

    @only_codec_errors
    def encode(
        self,
        image: Any,
        quality: float | None = None,
        target_bytes: int | None = None,
        qp_map: NDArray[np.generic] | None = None,
        strip: bool = False,
        guide: str | Guide | None = None,
        strength: float = STRENGTH,
        importance: Any = None,
        roi: Sequence[Box] | None = None,
        slope: float | None = None,
        tune: str | Tower | Tuner | None = None,
        keep: str = metadata.DEFAULT_KEEP,
    ) -> bytes:
        """A picture as a .ctm file; see `encode_full`."""
        return self.encode_full(
            image,
            quality,
            target_bytes,
            qp_map,
            strip,
            False,
            guide,
            strength,
            importance,
            roi,
            slope,
            tune,
            keep,
        ).data

    @only_codec_errors
    def encode_full(
        self,
        image: Any,
        quality: float | None = None,
        target_bytes: int | None = None,
        qp_map: NDArray[np.generic] | None = None,
        strip: bool = False,
        want_bits: bool = False,
        guide: str | Guide | None = None,
        strength: float = STRENGTH,
        importance: Any = None,
        roi: Sequence[Box] | None = None,
        slope: float | None = None,
        tune: str | Tower | Tuner | None = None,
        keep: str = metadata.DEFAULT_KEEP,
    ) -> Encoded:
        """As `encode`, with y_hat, the bits per latent position (if wanted), notes and seconds by stage.

        image: a PIL image, an `images.Picture`, a path, bytes of a picture file, uint8 [H, W, 3] or float [3, H, W] in 0..1.
        quality: 0..100, 50 if nothing else is given. target_bytes: the best quality whose file is not larger.
        qp_map: absolute QPs 0..63 on any grid up to one per 16x16 pixels; replaces quality and guidance. strip: leave out profile
        and EXIF. guide: where finer steps go at the same file size: `student` (the default, if the weights have no other), `clip`,
        `uniform`, a map's file or a Guide (guidance.choose). strength: 0 (uniform) .. 1. importance: a map [rows, cols] >= 0 over
        the whole picture, any size. roi: boxes (left, top, right, bottom) in pixels that matter most. slope: 0..14, QPs less at a
        quality for each nat that a picture costs more than usual (guidance.Guidance.base_qp), the weights' own if not given; it
        says nothing about target sizes and QP maps. keep: how much metadata stays: all, safe (no location, no maker notes) or none
        (as strip; pixels then come in sRGB). tune: a vision tower that will look, or its name (tuning.load_tuner): seconds
        of descent through it and the decoder, for files that serve it better at their bytes (tuning.Tuner).
        Raises BadArgument, BadPicture, TooLarge, TargetTooSmall, GuideUnavailable, UnknownModel or UnsupportedTower.
        """
        if sum(v is not None for v in (quality, target_bytes, qp_map)) > 1:
            raise BadArgument("give only one of quality, target size and QP map")
        if qp_map is not None and any(v is not None for v in (guide, importance, roi)):
            raise BadArgument("a QP map leaves nothing to guide; give only one of them")
        watch = Stopwatch()
        with watch.stage("load"):
            given = images.from_any(image, self.limit_pixels)
            picture = metadata.for_lossy(metadata.kept(given, "none" if strip else keep))
            extras = extras_of(picture)
            seen = images.shown(picture)
        tuner = None if tune is None else _tuner(tune, self.backend)
        if qp_map is not None:
            field = stepfield.check_map(qp_map, *latent_grid(*picture.pixels.shape[:2]))
            return self._encode(picture, extras, 0, Plan(field), watch, want_bits, tuner)
        with watch.stage("guide"):
            chosen = resolve(guide, importance, roi, self.backend, self.backend.checkpoint.guide)
            guidance = Guidance(
                chosen,
                strength,
                seen,
                self.backend.checkpoint.slope if slope is None else slope,
            )

        def at(qp: int) -> Encoded:
            with watch.stage("guide"):
                plan = guidance.plan(qp)
            return self._encode(picture, extras, qp, plan, watch, want_bits, tuner)

        if target_bytes is None:
            with watch.stage("guide"):
                qp = guidance.base_qp(
                    rate.quality_to_qp(rate.DEFAULT_QUALITY if quality is None else quality)
                )
            return at(qp)
        wanted = rate.parse_size(target_bytes)
        try:
            return _best_within(at, wanted)
        except TargetTooSmall as error:
            why = metadata.too_small(picture, error.smallest, wanted)
            raise error if why is None else TargetTooSmall(why, error.smallest) from None

    def _encode(
        self,
        picture: images.Picture,
        extras: dict[int, bytes],
        base: int,
        plan: Plan,
        watch: Stopwatch,
        want_bits: bool,
        tuner: Tuner | None = None,
    ) -> Encoded:
        height, width = picture.pixels.shape[:2]
        container.check_memory(width, height, container.ENCODE_BYTES, self.limit_memory)
        grid = latent_grid(height, width)
        offsets = None
        if plan.qp_map is not None:
            base, offsets = stepfield.split_map(plan.qp_map)
            offsets = offsets if offsets.any() else None
        qp = stepfield.qp_field(base, offsets, *grid)
        refine = (
            None
            if tuner is None
            else tuner.refine(self.backend, picture.pixels, qp, self.limit_memory)
        )
        latents = self.pipeline.encode(picture.pixels, qp, watch, want_bits, plan.thrift, refine)
        with watch.stage("write"):
            coded_map = None if offsets is None else stepfield.encode_offsets(offsets)
            fingerprint = self.backend.checkpoint.fingerprint
            content = container.Container(
                width, height, base, fingerprint, latents.data, coded_map, extras
            )
            data = container.write(content)
        return Encoded(
            data, latents, latents.bits, qp, (height, width), picture.notes, watch.seconds
        )

    @only_codec_errors
    def decode(
        self,
        data: bytes,
        output: Output = "pil",
        level: Level = "pixels",
        background: Any = WHITE,
    ) -> Any:
        """A file's picture: a PIL image (alpha, profile and EXIF restored), a uint8 array [H, W, 3] or a float tensor [3, H, W].

        level: `pixels`; `preview`: a picture of ceil(H / 8) x ceil(W / 8), from the file's first layer alone where the weights
        have one; `latents`: y_hat, float32 [h, w, M], in quantization steps, whatever the output. background: what transparent
        pixels of an array or a tensor are composed on.
        Raises NotACotamFile, UnsupportedVersion, TooLarge, Truncated, Corrupt, WrongModel or BadArgument.
        """
        if level not in LEVELS:
            raise BadArgument(f"level must be {', '.join(LEVELS)}, not '{level}'")
        if level == "latents":
            return self._decode_latents(data, Stopwatch(), False)[2].y_hat
        return (self.decode_full(data) if level == "pixels" else self.decode_preview(data)).to(
            output, background
        )

    @only_codec_errors
    def decode_preview(self, data: bytes) -> Decoded:
        """As `decode` for the level `preview`; y_hat is empty, EXIF is left out."""
        if len(self.pipeline.layers) < 2:
            full = self.decode_full(data)
            return Decoded(
                images.reduced(full.picture, PREVIEW), NOTHING, None, full.qp, full.seconds
            )
        watch = Stopwatch()
        with watch.stage("load"):
            content, qp = self._open(data)
        with _corrupt_unless_typed():
            pixels = self.pipeline.preview(
                content.latents, qp, content.height, content.width, watch
            )
        return Decoded(
            images.reduced(picture_of(content, pixels), PREVIEW, {"pixels"}),
            NOTHING,
            None,
            qp,
            watch.seconds,
        )

    @only_codec_errors
    def decode_full(self, data: bytes, want_bits: bool = False) -> Decoded:
        """As `decode`, with y_hat, the bits per latent position (if wanted) and seconds by stage."""
        watch = Stopwatch()
        content, qp, latents = self._decode_latents(data, watch, want_bits)
        pixels = self.pipeline.reconstruct(latents.y_hat, qp, content.height, content.width, watch)
        with watch.stage("write"):
            picture = picture_of(content, pixels)
        return Decoded(picture, latents.y_hat, latents.bits, qp, watch.seconds)

    @only_codec_errors
    def decode_tokens(
        self,
        data: bytes | Sequence[bytes],
        tower: str | Tower,
        weights: str | None = None,
        adapter: str | Path | Adapter | None = None,
        tiles: tuple[int, int] | None = None,
        layer: int = 0,
    ) -> Tensor:
        """Files as a vision tower's tokens, repaired from the latents by an adapter.

        data: a file's bytes, or several of them; tower: a Tower of any input size, or a name and its weights (towers.load_tower);
        adapter: the shipped one of this tower and these weights, unless a file or an Adapter is given. tiles: (rows, columns) of
        pieces beside the whole picture, for towers that tile; layer: which tokens (Tower.tokens), 0: those that enter the tower's
        first block, k: the output of block k, -1: that of its final norm. Returns float [B, prefix + rows * columns, width], with
        tiles [B, 1 + tiles, prefix + ..., width]. Raises as `decode` does, AdapterUnavailable, WrongAdapter, UnknownModel,
        UnsupportedTower or BadArgument.
        """
        files = [data] if isinstance(data, bytes) else list(data)
        if not files:
            raise BadArgument("there is no file to decode")
        try:
            from codec.tokens.adapters import Adapter, find_adapter, load_adapter
            from codec.tokens.decode import tokens
            from codec.towers import load_tower
        except ImportError as error:
            raise BadArgument(
                f"tokens need more packages: pip install 'cotam[mllm]' ({error})"
            ) from None
        seen = load_tower(tower, weights) if isinstance(tower, str) else tower
        if adapter is None:
            chosen = find_adapter(self.fingerprint, seen.signature, seen.name)
        else:
            loaded = adapter if isinstance(adapter, Adapter) else load_adapter(Path(adapter))
            chosen = loaded.check(self.fingerprint, seen.signature)
        return tokens(
            self.backend, [self.decode_full(file) for file in files], seen, chosen, tiles, layer
        )

    def _decode_latents(
        self, data: bytes, watch: Stopwatch, want_bits: bool
    ) -> tuple[container.Container, QpField, Latents]:
        with watch.stage("load"):
            content, qp = self._open(data)
        grid = latent_grid(content.height, content.width)
        with _corrupt_unless_typed():
            return content, qp, self.pipeline.decode(content.latents, qp, *grid, watch, want_bits)

    def _open(self, data: bytes) -> tuple[container.Container, QpField]:
        content = container.read(data, self.limit_pixels)
        if content.fingerprint != self.backend.checkpoint.fingerprint:
            raise WrongModel(_wrong_model(content.fingerprint, self.backend.checkpoint))
        container.check_memory(
            content.width, content.height, container.DECODE_BYTES, self.limit_memory
        )
        return content, qp_field(content)

    @only_codec_errors
    def encode_batch(self, pictures: Iterable[Any], **options: Any) -> list[bytes]:
        """`encode` for each picture, with the same options."""
        return [self.encode(picture, **options) for picture in pictures]

    @only_codec_errors
    def decode_batch(self, files: Sequence[bytes], output: Output = "pil") -> list[Any]:
        """`decode` for each file."""
        return [self.decode(data, output) for data in files]


def _best_within(at: Callable[[int], Encoded], target_bytes: int) -> Encoded:
    """The file of the best QP that is not larger. Raises TargetTooSmall."""
    results: dict[bytes, Encoded] = {}

    def attempt(qp: int) -> bytes:
        result = at(qp)
        if len(result.data) <= target_bytes:
            results.clear()
            results[result.data] = result
        return result.data

    return results[rate.search_qp(attempt, target_bytes)]


def _tuner(tune: str | Tower | Tuner, backend: Backend) -> Tuner:
    try:
        from codec.tuning import tuner_of
    except ImportError as error:
        raise BadArgument(f"tuning needs PyTorch, which is not here ({error})") from None
    return tuner_of(tune, str(getattr(backend, "device", "cpu")))


@contextmanager
def _corrupt_unless_typed() -> Iterator[None]:
    """What goes wrong in the arithmetic of a hostile stream is a Corrupt, too."""
    try:
        yield
    except CodecError:
        raise
    except (ValueError, IndexError, OverflowError) as error:
        raise Corrupt(
            f"the entropy-coded part cannot be decoded ({type(error).__name__})"
        ) from None


def _wrong_model(fingerprint: bytes, loaded: Weights) -> str:
    known = checkpoints.by_fingerprint(fingerprint)
    hint = (
        f"load the model '{known}'"
        if known
        else "find the weights it was encoded with and give their path as the model"
    )
    return f"the file was encoded with weights {fingerprint.hex()}, not '{loaded.name}' ({loaded.fingerprint.hex()}); {hint}"
