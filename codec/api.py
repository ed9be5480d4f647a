"""The public API: pictures in, bytes out, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from codec import quality as qualities
from codec import tool_files
from codec.backends.lazy import LazyBackend
from codec.backends.runtime import Runtime
from codec.batches import overlapped
from codec.bitstream import container, qp_map
from codec.coding.backend import Backend, QpField, Weights
from codec.coding.latent_grid import Floats, latent_grid
from codec.coding.pipeline import PREVIEW, Latents, Stopwatch
from codec.errors import (
    BadArgument,
    NoLatents,
    TargetTooSmall,
    WrongModel,
    only_codec_errors,
)
from codec.guidance import DEFAULT_GUIDE, Guidance, Plan, default_guide, resolve
from codec.info import fingerprint_of, weights_of
from codec.io import images, metadata
from codec.io.compose import WHITE
from codec.io.image_like import ImageLike, size_of
from codec.io.metadata import extras_of, picture_of
from codec.options import EncodeOptions
from codec.results import LEVELS, NOTHING, Decoded, Encoded, Level, Output
from codec.tools.choosing.reasons import Choice
from codec.tools.choosing.select import choice_for
from codec.tools.effort import learned_effort
from codec.tools.interface import DEFAULT_EFFORT
from codec.tools.learned import Coded, LearnedSettings, LearnedTool
from codec.tools.names import LEARNED, NAMES
from codec.weights import checkpoint as checkpoints
from codec.weights import hub

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import Tensor

    from codec.tokens.adapters import Adapter
    from codec.towers import Tower


@only_codec_errors
def load(
    name_or_path: str | Path = "default",
    device: str | torch.device = "auto",
    *,
    backend: Runtime = "auto",
) -> Codec:
    """Load a codec by the name or path of its weights, or from a folder that `cotam export` wrote.

    The weights are read when the first file needs them. Files of screen tools need no weights.

    Args:
        name_or_path: one of `models()`, a .safetensors file, a folder of `cotam export`, or
            hf://org/name for weights on the Hugging Face Hub (extra `hub`).
        device: `auto`, `cpu`, `cuda`, or any other name that torch accepts.
        backend: the library that runs the networks: `torch`, `onnx` (ONNX Runtime), `openvino`
            (OpenVINO for the transforms, ONNX Runtime for the rest), or `auto`: PyTorch if the
            program has imported it or there is a GPU, otherwise ONNX Runtime. The environment
            variable COTAM_BACKEND sets what `auto` means. Every backend decodes the same latents.

    Returns:
        The codec.

    Raises:
        UnknownModel: there are no such weights.
        BadArgument: the device or the backend is unknown or absent.

    Examples:
        >>> load("tiny").fingerprint
        '4030fbf7'
    """
    return Codec(LazyBackend(hub.on_disk(str(name_or_path)), str(device), backend))


@lru_cache(maxsize=4)
def _cached(name: str, device: str) -> Codec:
    return load(name, device)


@only_codec_errors
def load_for(data: bytes, *, device: str | torch.device = "auto") -> Codec:
    """Load the codec that a file was encoded with, and keep it for the next file.

    Args:
        data: the file.
        device: as for `load`.

    Returns:
        The codec; the default one for files that need no weights.

    Raises:
        CodecError: the file is bad, or its weights are not shipped (WrongModel).

    Examples:
        >>> import numpy as np
        >>> data = load().encode(np.zeros((20, 30, 3), np.uint8), tool="learned")
        >>> load_for(data).fingerprint == load().fingerprint
        True
    """
    return _cached(weights_of(data) or "default", str(device))


@overload
def decode(
    data: bytes,
    *,
    output: Output = ...,
    level: Literal["latents"],
    device: str | torch.device = ...,
    background: Any = ...,
) -> Floats: ...


@overload
def decode(
    data: bytes,
    *,
    output: Literal["pil"] = ...,
    level: Literal["pixels", "preview"] = ...,
    device: str | torch.device = ...,
    background: Any = ...,
) -> Image.Image: ...


@overload
def decode(
    data: bytes,
    *,
    output: Literal["array"],
    level: Literal["pixels", "preview"] = ...,
    device: str | torch.device = ...,
    background: Any = ...,
) -> NDArray[np.uint8]: ...


@overload
def decode(
    data: bytes,
    *,
    output: Literal["tensor"],
    level: Literal["pixels", "preview"] = ...,
    device: str | torch.device = ...,
    background: Any = ...,
) -> Tensor: ...


@overload
def decode(
    data: bytes,
    *,
    output: Output = ...,
    level: Level = ...,
    device: str | torch.device = ...,
    background: Any = ...,
) -> Any: ...


@only_codec_errors
def decode(
    data: bytes,
    *,
    output: Output = "pil",
    level: Level = "pixels",
    device: str | torch.device = "auto",
    background: Any = WHITE,
) -> Any:
    """Decode a file with the shipped weights that it was encoded with.

    Args:
        data: the file.
        output: as for `Codec.decode`.
        level: as for `Codec.decode`.
        device: as for `load`.
        background: as for `Codec.decode`.

    Returns:
        As `Codec.decode`.

    Raises:
        CodecError: as `Codec.decode` and `load_for` do.

    Examples:
        >>> import numpy as np
        >>> data = load().encode(np.zeros((20, 30, 3), np.uint8), lossless=True)
        >>> decode(data, output="array").shape
        (20, 30, 3)
    """
    return load_for(data, device=device).decode(
        data, output=output, level=level, background=background
    )


class Codec:
    """Encodes and decodes with one set of weights; safe to use from several threads.

    ::

        picture --+-> tools.select --learned--> guidance -> LearnedTool -> latents --+-> container
                  |              \\--screen--> tool_files -> Tool -> payload --------+    -> .ctm
                  \\-> alpha, profile, EXIF ------------------------------------------+
    """

    def __init__(
        self,
        backend: Backend,
        limit_pixels: int = container.DEFAULT_LIMIT_PIXELS,
        limit_memory: int = container.DEFAULT_LIMIT_MEMORY,
    ) -> None:
        """Make a codec over a backend.

        Args:
            backend: the networks; `load` makes one from weights.
            limit_pixels: pictures with more pixels are refused.
            limit_memory: pictures that would need more bytes of memory are refused.
        """
        self.backend = backend
        self.limit_pixels = limit_pixels
        self.limit_memory = limit_memory
        self._learned: LearnedTool | None = None

    def __repr__(self) -> str:
        return f"Codec({self.backend!r})"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_learned": None}

    @property
    def learned(self) -> LearnedTool:
        """The learned tool over these weights, which are read when it is first used."""
        if self._learned is None:
            self._learned = LearnedTool(self.backend)
        return self._learned

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the weights in hexadecimal; files of the learned tool store it."""
        return self.backend.checkpoint.fingerprint.hex()

    @only_codec_errors
    def encode(
        self, image: ImageLike, *, options: EncodeOptions | None = None, **changes: Any
    ) -> bytes:
        """Encode a picture as a .ctm file.

        Args:
            image: a path, bytes of a picture file, a binary stream, a PIL image, uint8 [H, W, 3] or
                [H, W], float [3, H, W] in 0..1, or Hugging Face's {"bytes": ..., "path": ...}.
            options: the settings; the defaults if not given.
            changes: fields of EncodeOptions by name, which replace those of `options`.

        Returns:
            The file.

        Raises:
            BadArgument: an option is unknown, out of range, or excludes another one.
            BadPicture: the picture cannot be decoded.
            TooLarge: the picture exceeds the limits of this codec.
            TargetTooSmall: no quality fits `target_bytes`.
            GuideUnavailable: the guide's weights are missing.
            UnsupportedTower: `tune` names a tower that cannot be tuned to.

        Examples:
            >>> import numpy as np
            >>> data = load().encode(np.full((20, 30, 3), 255, np.uint8), quality=40)
            >>> load().decode(data).size
            (30, 20)
        """
        return self.encode_full(image, options=options, **changes).data

    @only_codec_errors
    def encode_full(
        self,
        image: ImageLike,
        *,
        options: EncodeOptions | None = None,
        want_bits: bool = False,
        **changes: Any,
    ) -> Encoded:
        """Encode a picture, and return latents, notes and seconds by stage with the file.

        Args:
            image: as for `encode`.
            options: as for `encode`.
            want_bits: also return the bits of every latent position.
            changes: as for `encode`.

        Returns:
            The file and what is known about it.

        Raises:
            CodecError: as `encode` does.

        Examples:
            >>> import numpy as np
            >>> picture = np.zeros((20, 30, 3), np.uint8)
            >>> full = load().encode_full(picture, tool="learned", want_bits=True)
            >>> full.tool, full.y_hat.shape, full.bits.shape
            ('learned', (2, 2, 192), (2, 2))
        """
        chosen = EncodeOptions.of(options, changes)
        watch = Stopwatch()
        with watch.stage("load"):
            # Metadata is removed first, because keep="none" converts the pixels to sRGB, and the
            # tool must be chosen for the pixels that are coded.
            picture = metadata.kept(images.from_any(image, self.limit_pixels), chosen.kept)
        with watch.stage("choose"):
            # Only the learned tool has QPs, and only its latents can be tuned.
            learned_only = chosen.qp_map is not None or chosen.tune is not None
            choice = choice_for(picture, chosen.tool, chosen.lossless, learned_only)
        if choice.tools != (LEARNED,):
            photographs = Photographs(self, chosen)
            return tool_files.encode(picture, choice, chosen, self.limit_memory, watch, photographs)
        return self._encode_learned(picture, choice, chosen, watch, want_bits)

    def encode_batch(
        self,
        pictures: Iterable[ImageLike],
        *,
        options: EncodeOptions | None = None,
        **changes: Any,
    ) -> Iterator[bytes]:
        """Encode many pictures: one is entropy-coded while the networks work on the next.

        Args:
            pictures: as `encode` takes them, read one after another as they are needed.
            options: as for `encode`.
            changes: as for `encode`.

        Yields:
            The files that `encode` makes, in the order of the pictures.

        Raises:
            CodecError: as `encode` does, when the first picture that fails is reached.

        Example:
            >>> import numpy as np
            >>> cotam = load()
            >>> pictures = [np.full((20, 30, 3), level, np.uint8) for level in (0, 255)]
            >>> files = list(cotam.encode_batch(pictures))
            >>> files == [cotam.encode(picture) for picture in pictures]
            True
        """
        chosen = EncodeOptions.of(options, changes)
        return overlapped(lambda picture: self.encode(picture, options=chosen), pictures)

    def decode_batch(
        self,
        files: Iterable[bytes],
        *,
        output: Output = "pil",
        level: Level = "pixels",
        background: Any = WHITE,
    ) -> Iterator[Any]:
        """Decode many files: one is entropy-decoded while the networks work on another.

        Args:
            files: as `decode` takes them, read one after another as they are needed.
            output: as for `decode`.
            level: as for `decode`.
            background: as for `decode`.

        Yields:
            What `decode` returns, in the order of the files.

        Raises:
            CodecError: as `decode` does, when the first file that fails is reached.

        Example:
            >>> import numpy as np
            >>> cotam = load()
            >>> data = cotam.encode(np.zeros((20, 30, 3), np.uint8))
            >>> [image.size for image in cotam.decode_batch([data, data])]
            [(30, 20), (30, 20)]
        """
        return overlapped(
            lambda file: self.decode(file, output=output, level=level, background=background),
            files,
        )

    def _encode_learned(
        self,
        picture: images.Picture,
        choice: Choice,
        options: EncodeOptions,
        watch: Stopwatch,
        want_bits: bool,
    ) -> Encoded:
        picture = metadata.for_lossy(picture)
        height, width = size_of(picture)
        # Checked first, so that weights and a tower are not loaded in vain.
        container.check_memory(width, height, container.ENCODE_BYTES, self.limit_memory)
        refiner, notes = self._refiner(options, height * width)

        def at(qp: int, plan: Plan) -> Encoded:
            settings = LearnedSettings(qp, plan, refiner, want_bits, watch)
            coded = self.learned.code(picture.pixels, settings)
            with watch.stage("write"):
                data = self._file(picture, coded)
            size = (height, width)
            bits = coded.latents.bits
            return Encoded(
                data,
                coded.latents,
                bits,
                coded.field,
                size,
                picture.notes + notes,
                watch.seconds,
                LEARNED,
                choice.reason,
            )

        if options.qp_map is not None:
            # The QP does not matter: the map sets all of them.
            return at(0, Plan(qp_map.check_map(options.qp_map, *latent_grid(height, width))))
        return self._guided(at, picture, options, watch)

    def _guided(
        self,
        at: Callable[[int, Plan], Encoded],
        picture: images.Picture,
        options: EncodeOptions,
        watch: Stopwatch,
    ) -> Encoded:
        """Encode with the guide's plans, at a quality or at the best one that fits a size."""
        with watch.stage("guide"):
            # A guide looks at what a tower will see: sRGB, on a background.
            guidance = self._guidance(images.shown(picture), options)

        def planned(qp: int) -> Encoded:
            with watch.stage("guide"):
                plan = guidance.plan(qp)
            return at(qp, plan)

        if options.target_bytes is not None:
            try:
                return _best_within(planned, options.target_bytes)
            except TargetTooSmall as error:
                raise metadata.explained(picture, error, options.target_bytes) from None
        with watch.stage("guide"):
            qp = guidance.base_qp(qualities.quality_to_qp(options.usual_quality))
        return planned(qp)

    def _guidance(self, pixels: NDArray[np.uint8], options: EncodeOptions) -> Guidance:
        weights = self.backend.checkpoint
        guided = learned_effort(options.effort).guided
        named = weights.guide if guided else DEFAULT_GUIDE
        usual = default_guide(named, options.strength)
        guide = resolve(options.guide, options.importance, options.roi, self.backend, usual)
        slope = getattr(guide, "slope", None) if options.slope is None else options.slope
        return Guidance(guide, options.strength, pixels, weights.slope if slope is None else slope)

    def _file(self, picture: images.Picture, coded: Coded) -> bytes:
        height, width = size_of(picture)
        return container.write(
            container.Container(
                width,
                height,
                coded.qp,
                self.backend.checkpoint.fingerprint,
                coded.latents.data,
                coded.qp_map,
                extras_of(picture),
            )
        )

    def _refiner(self, options: EncodeOptions, area: int) -> tuple[Any, list[str]]:
        """The tuner for a picture of `area` pixels (None for no tuning), and notes."""
        level = learned_effort(options.effort)
        if options.tune is None and not level.steps:
            return None, []
        try:
            from codec.tuning import load_tuner, obstacle, tuner_of
        except ImportError as error:
            if options.tune is not None:
                raise BadArgument(f"tuning needs PyTorch, which is missing ({error})") from None
            lowered = f"effort {options.effort} was reduced to {DEFAULT_EFFORT}"
            return None, [f"{lowered}: PyTorch is missing"]
        device = str(getattr(self.backend, "device", "cpu"))
        if options.tune is None:
            # If tuning is impossible here, the effort is lowered, with a note. If the user named a
            # tower, `refine` raises an error instead.
            if reason := obstacle(self.backend, area, self.limit_memory):
                return None, [f"effort {options.effort} was reduced to {DEFAULT_EFFORT}: {reason}"]
            tuner = load_tuner("features", None, level.steps, device, level.views)
        else:
            tuner = tuner_of(options.tune, device)

        def refiner(pixels: NDArray[np.uint8], field: QpField) -> Any:
            return tuner.refine(self.backend, pixels, field, self.limit_memory)

        return refiner, []

    @overload
    def decode(
        self,
        data: bytes,
        *,
        output: Output = ...,
        level: Literal["latents"],
        background: Any = ...,
    ) -> Floats: ...

    @overload
    def decode(
        self,
        data: bytes,
        *,
        output: Literal["pil"] = ...,
        level: Literal["pixels", "preview"] = ...,
        background: Any = ...,
    ) -> Image.Image: ...

    @overload
    def decode(
        self,
        data: bytes,
        *,
        output: Literal["array"],
        level: Literal["pixels", "preview"] = ...,
        background: Any = ...,
    ) -> NDArray[np.uint8]: ...

    @overload
    def decode(
        self,
        data: bytes,
        *,
        output: Literal["tensor"],
        level: Literal["pixels", "preview"] = ...,
        background: Any = ...,
    ) -> Tensor: ...

    @overload
    def decode(
        self,
        data: bytes,
        *,
        output: Output = ...,
        level: Level = ...,
        background: Any = ...,
    ) -> Any: ...

    @only_codec_errors
    def decode(
        self,
        data: bytes,
        *,
        output: Output = "pil",
        level: Level = "pixels",
        background: Any = WHITE,
    ) -> Any:
        """Decode a file.

        Args:
            data: the file.
            output: `pil`: an image with alpha, profile and EXIF; `array`: uint8 [H, W, 3];
                `tensor`: float32 [3, H, W] in 0..1.
            level: `pixels`; `preview`: a picture of ceil(H / 8) x ceil(W / 8), from the first layer
                of the latents where the weights have one; `latents`: y_hat, float32 [h, w, M] in
                quantization steps; `output` is then ignored.
            background: what transparent pixels of an array or a tensor are composed on: the name
                of a colour or (red, green, blue).

        Returns:
            The picture or the latents.

        Raises:
            NotACotamFile, UnsupportedVersion, Truncated, Corrupt: the file is bad.
            TooLarge: the file claims more pixels than the limits of this codec.
            WrongModel: other weights wrote the file.
            NoLatents: `level` is `latents` and the file's tool has none.
            BadArgument: an argument is unknown.

        Examples:
            >>> import numpy as np
            >>> data = load().encode(np.zeros((20, 30, 3), np.uint8), tool="learned")
            >>> load().decode(data, output="array", level="preview").shape
            (3, 4, 3)
            >>> load().decode(data, level="latents").shape
            (2, 2, 192)
        """
        if level not in LEVELS:
            raise BadArgument(f"level must be {', '.join(LEVELS)}, not {level!r}")
        if level == "latents":
            return self._decode_latents(self._open(data), Stopwatch(), False)[1].y_hat
        full = self.decode_full(data) if level == "pixels" else self.decode_preview(data)
        return full.to(output, background)

    @only_codec_errors
    def decode_preview(self, data: bytes) -> Decoded:
        """Decode a file at an eighth of the sides.

        Args:
            data: the file.

        Returns:
            As `decode_full`, with ceil(H / 8) x ceil(W / 8) pixels, without latents and EXIF.

        Raises:
            CodecError: as `decode` does.

        Examples:
            >>> import numpy as np
            >>> data = load().encode(np.zeros((20, 30, 3), np.uint8), tool="learned")
            >>> load().decode_preview(data).size
            (3, 4)
        """
        content = self._open(data)
        if content.tool:
            return tool_files.preview(content, self.limit_memory, Photographs(self))
        # Weights without a preview layer: a reduced full decode gives the same size.
        if len(self.learned.pipeline.layers) < 2:
            full = self.decode_full(data)
            small = images.reduced(full.picture, PREVIEW)
            return Decoded(small, NOTHING, None, full.qp, full.seconds)
        watch = Stopwatch()
        qp, pixels = self.learned.preview(content, watch)
        # The pixels have their final size; alpha is stored at full size.
        picture = images.reduced(picture_of(content, pixels), PREVIEW, {"pixels"})
        return Decoded(picture, NOTHING, None, qp, watch.seconds)

    @only_codec_errors
    def decode_full(self, data: bytes, *, want_bits: bool = False) -> Decoded:
        """Decode a file, with latents, bits per latent position and seconds by stage.

        Args:
            data: the file.
            want_bits: also return the bits of every latent position.

        Returns:
            The picture and what is known about it.

        Raises:
            CodecError: as `decode` does.

        Examples:
            >>> import numpy as np
            >>> data = load().encode(np.zeros((20, 30, 3), np.uint8), tool="learned")
            >>> decoded = load().decode_full(data, want_bits=True)
            >>> decoded.size, decoded.bits.shape, decoded.has_latents
            ((20, 30), (2, 2), True)
        """
        watch = Stopwatch()
        with watch.stage("load"):
            content = self._open(data)
        if content.tool:
            return tool_files.decode(content, self.limit_memory, Photographs(self), want_bits)
        qp, latents = self._decode_latents(content, watch, want_bits)
        pixels = self.learned.pipeline.reconstruct(
            latents.y_hat, qp, content.height, content.width, watch
        )
        with watch.stage("write"):
            picture = picture_of(content, pixels)
        return Decoded(picture, latents.y_hat, latents.bits, qp, watch.seconds)

    @only_codec_errors
    def decode_tokens(
        self,
        data: bytes | Sequence[bytes],
        tower: str | Tower,
        *,
        weights: str | None = None,
        adapter: str | Path | Adapter | None = None,
        tiles: tuple[int, int] | None = None,
        layer: int = 0,
    ) -> Tensor:
        """Decode files to a vision tower's tokens, repaired from the latents by an adapter.

        Args:
            data: one file or several.
            tower: a Tower of any input size, or a name (towers.load_tower).
            weights: the tower's weights, where it is given by name.
            adapter: a file or an Adapter; the shipped one of this tower and these weights if not
                given. Files without latents are not repaired.
            tiles: rows and columns of pieces besides the whole picture, for towers that tile.
            layer: 0: tokens that enter the tower's first block; k: the output of block k; -1: the
                output of its final norm.

        Returns:
            float [B, prefix + rows * columns, width]; with tiles [B, 1 + tiles, prefix + ...,
            width].

        Raises:
            CodecError: as `decode` does.
            AdapterUnavailable, WrongAdapter, UnknownModel: there is no such adapter.
            UnsupportedTower: the tower cannot be used.
        """
        files = [data] if isinstance(data, (bytes, bytearray, memoryview)) else list(data)
        if not files:
            raise BadArgument("there is no file to decode")
        try:
            from codec.tokens.decode import tokens
            from codec.towers import load_tower
        except ImportError as error:
            raise BadArgument(
                f"tokens need more packages: pip install 'cotam[mllm]' ({error})"
            ) from None
        vision = load_tower(tower, weights) if isinstance(tower, str) else tower
        decoded = [self.decode_full(bytes(file)) for file in files]
        # Files of screen tools have no latents: for those alone no adapter is needed.
        latents = any(one.has_latents for one in decoded)
        chosen = self._adapter(vision, adapter) if latents or adapter is not None else None
        return tokens(self.backend, decoded, vision, chosen, tiles, layer)

    def _adapter(self, tower: Tower, adapter: str | Path | Adapter | None) -> Adapter:
        from codec.tokens.adapters import Adapter, find_adapter, load_adapter

        if adapter is None:
            return find_adapter(self.fingerprint, tower.signature, tower.name)
        loaded = adapter if isinstance(adapter, Adapter) else load_adapter(Path(adapter))
        return loaded.check(self.fingerprint, tower.signature)

    def _decode_latents(
        self, content: container.Container, watch: Stopwatch, want_bits: bool
    ) -> tuple[QpField, Latents]:
        if content.tool:
            raise NoLatents(f"files of the tool '{NAMES.get(content.tool)}' have no latents")
        return self.learned.latents(content, watch, want_bits)

    def check_weights(self, fingerprint: bytes) -> None:
        """Raise WrongModel if a file needs other weights; an empty fingerprint needs none."""
        if fingerprint and fingerprint != self.backend.checkpoint.fingerprint:
            raise WrongModel(_wrong_model(fingerprint, self.backend.checkpoint))

    def _open(self, data: bytes) -> container.Container:
        content = container.read(data, self.limit_pixels)
        self.check_weights(fingerprint_of(content))
        if content.tool:
            # Its tool checks memory (tool_files).
            return content
        container.check_memory(
            content.width, content.height, container.DECODE_BYTES, self.limit_memory
        )
        return content


class Photographs:
    """The learned tool for photographs within a drawn picture; see tools.mixed.PhotographTool.

    A guide, an importance map or regions of interest that the user gave describe the whole picture.
    They are not used here: each photograph gets the default guide of the weights.
    """

    def __init__(self, codec: Codec, options: EncodeOptions | None = None) -> None:
        self.codec = codec
        self.options = EncodeOptions() if options is None else options

    @property
    def fingerprint(self) -> bytes:
        return self.codec.backend.checkpoint.fingerprint

    def encode(self, pixels: NDArray[np.uint8], quality: float) -> bytes:
        pixels = np.ascontiguousarray(pixels)
        given = self.options
        options = EncodeOptions(strength=given.strength, slope=given.slope, effort=given.effort)
        guidance = self.codec._guidance(pixels, options)
        qp = guidance.base_qp(qualities.quality_to_qp(quality))
        refiner, _ = self.codec._refiner(options, pixels.shape[0] * pixels.shape[1])
        settings = LearnedSettings(qp, guidance.plan(qp), refiner)
        return self.codec.learned.code(pixels, settings).payload()

    def decode(self, payload: bytes, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
        return self.codec.learned.decode(payload, shape)


def _best_within(at: Callable[[int], Encoded], target_bytes: int) -> Encoded:
    """Encode at the largest QP whose file fits `target_bytes`. Raises TargetTooSmall."""
    results: dict[bytes, Encoded] = {}

    def attempt(qp: int) -> bytes:
        result = at(qp)
        if len(result.data) <= target_bytes:
            # Only the best result is kept, because each one holds latents in memory.
            results.clear()
            results[result.data] = result
        return result.data

    return results[qualities.search_qp(attempt, target_bytes)]


def _wrong_model(fingerprint: bytes, loaded: Weights) -> str:
    name = checkpoints.by_fingerprint(fingerprint)
    hint = f"load the model '{name}'" if name else f"find those weights; {checkpoints.WHERE}"
    return (
        f"the file was encoded with weights {fingerprint.hex()}, not '{loaded.name}' "
        f"({loaded.fingerprint.hex()}); {hint}"
    )
