"""Learned codecs for people who have their weights.

::

    compressai:NAME,PLACE   elic:PLACE   dcae:PLACE   dcae:MODULE.CLASS@PLACE

    PLACE:
        FILE      one quality
        FOLDER    a quality for each file in it, coarse to fine by name
        random    random weights: real bytes, and no scores

    pixels -> edge repeated to the model's stride -> compress -> strings, shape -> one file
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from codec.errors import BadArgument, UnknownModel
from codec.evaluation.codecs.compressai_zoo import (
    MODELS_KEPT,
    STRIDE,
    UNTRAINED_SEED,
    Content,
    learned_codec,
)
from codec.evaluation.codecs.interface import CodecUnderTest

RANDOM = "random"
# Classes of compressai that hold ELIC's weights, by the names of their parameters.
ELIC_CLASSES = ("Elic2022Official", "Elic2022Chandelier")
# The class in DCAE's own repository, which must be on PYTHONPATH; MODULE.CLASS@FILE names another.
DCAE_CLASS = "models.DCAE"
DCAE_STRIDE = 128
HEAD = struct.Struct("<BHHHI")
LENGTH = struct.Struct("<I")
HASH_DIGITS = 12
# Suffixes of files with weights.
ENDINGS = (".safetensors", ".pt", ".pth", ".bin", ".tar")
# From a state dict to a model with these weights; None for random weights.
Build = Callable[[dict[str, Any] | None], Any]


def compressai_codec(name: str, place: str) -> CodecUnderTest:
    """A model of compressai's zoo with a checkpoint.

    Args:
        name: as in the zoo.
        place: FILE, FOLDER or `random`.

    Returns:
        The codec.

    Raises:
        BadArgument: compressai or the model is missing.
        UnknownModel: a file is missing or holds weights of another model.
    """
    _need_compressai(name)
    from compressai.zoo import image_models
    from compressai.zoo.image import model_architectures
    from compressai.zoo.pretrained import load_pretrained

    if name not in model_architectures:
        known = ", ".join(sorted(model_architectures))
        raise BadArgument(f"compressai has no model '{name}', but {known}")

    def build(state: dict[str, Any] | None) -> Any:
        if state is None:
            return image_models[name](1, pretrained=False)
        return model_architectures[name].from_state_dict(load_pretrained(state))

    return _codec_of(name, f"{_compressai()} {name}", place, build, STRIDE)


def elic_codec(place: str) -> CodecUnderTest:
    """ELIC (arXiv 2203.10886) in compressai's classes.

    Args:
        place: FILE, FOLDER or `random`.

    Returns:
        The codec.

    Raises:
        BadArgument: compressai is missing.
        UnknownModel: a file is missing or holds no ELIC.
    """
    _need_compressai("elic")
    import compressai.models as models

    def build(state: dict[str, Any] | None) -> Any:
        classes = [getattr(models, name) for name in ELIC_CLASSES]
        if state is None:
            return classes[0]()
        for one in classes:
            try:
                return one.from_state_dict(state)
            except (KeyError, RuntimeError):
                continue
        raise KeyError("no class of ELIC fits")

    return _codec_of("ELIC", f"{_compressai()} ELIC", place, build, STRIDE)


def dcae_codec(name: str) -> CodecUnderTest:
    """DCAE (CVPR 2025) in its authors' class.

    Args:
        name: FILE, FOLDER or `random`, after `MODULE.CLASS@` where the class is not `models.DCAE`.
            Importing the module runs its code.

    Returns:
        The codec.

    Raises:
        BadArgument: the class cannot be imported.
        UnknownModel: a file is missing or holds weights of another model.
    """
    dotted, _, place = name.rpartition("@")
    dotted = dotted or DCAE_CLASS
    module, _, cls = dotted.rpartition(".")
    try:
        network = getattr(import_module(module), cls)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadArgument(
            f"{dotted} cannot be imported ({error}): put DCAE's repository on PYTHONPATH, "
            "or say dcae:MODULE.CLASS@FILE"
        ) from None

    def build(state: dict[str, Any] | None) -> Any:
        model = network()
        if state is not None:
            model.load_state_dict(state)
        return model

    return _codec_of("DCAE", f"DCAE {dotted}", place, build, DCAE_STRIDE)


def _codec_of(title: str, identity: str, place: str, build: Build, stride: int) -> CodecUnderTest:
    """Make a codec of one or several checkpoints. Raises UnknownModel."""
    files = _files(place)
    if not files:
        return learned_codec(
            title,
            f"{identity}, random weights",
            (1,),
            lru_cache(maxsize=1)(lambda quality: _random(build)),
            boxed,
            unboxed,
            stride=stride,
            trained=False,
        )

    @lru_cache(maxsize=MODELS_KEPT)
    def model(quality: int) -> Any:
        return _loaded(files[quality - 1], build, title)

    # Weights that do not fit are reported now and not in the middle of a run.
    model(1)
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    return learned_codec(
        title,
        f"{identity}, weights {digest[:HASH_DIGITS]}",
        tuple(range(1, len(files) + 1)),
        model,
        boxed,
        unboxed,
        stride=stride,
    )


def _files(place: str) -> list[Path]:
    """The checkpoints of a place, none for `random`. Raises UnknownModel."""
    if place == RANDOM:
        return []
    path = Path(place)
    if path.is_dir():
        files = sorted(one for one in path.iterdir() if _is_checkpoint(one))
        if not files:
            raise UnknownModel(f"there are no checkpoints ({', '.join(ENDINGS)}) in {path}")
        return files
    if not path.is_file():
        raise UnknownModel(f"there is no file {path} to load weights from")
    return [path]


def _is_checkpoint(path: Path) -> bool:
    return path.name.endswith(ENDINGS)


def is_place(text: str) -> bool:
    """Whether the text after a comma is a checkpoint's place and not another codec's name."""
    return text == RANDOM or "/" in text or text.endswith(ENDINGS) or Path(text).exists()


def _loaded(path: Path, build: Build, title: str) -> Any:
    """A model with the weights of a file. Raises UnknownModel."""
    from codec.towers.pretrained import read_state

    state = read_state(path)
    try:
        model = build(state)
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        raise UnknownModel(f"{path} holds no weights of {title} ({type(error).__name__})") from None
    return _ready(model)


def _random(build: Build) -> Any:
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(UNTRAINED_SEED)
        return _ready(build(None))


def _ready(model: Any) -> Any:
    """A model in evaluation mode with its tables of frequencies."""
    model = model.eval().requires_grad_(False)
    model.update(force=True)
    return model


def boxed(quality: int, size: tuple[int, int], coded: dict[str, Any]) -> bytes:
    """Write a file: quality, height, width, strings in any nesting, shape.

    The description of nesting and shape is compressed; it takes about 60 bytes for ELIC.

    Args:
        quality: 0..255.
        size: height and width in pixels, up to 65535.
        coded: what `compress` of a compressai model returns for one picture.

    Returns:
        The file.
    """
    strings: list[bytes] = []
    tree = [_without_bytes(coded["strings"], strings), _plain(coded["shape"])]
    about = zlib.compress(json.dumps(tree, separators=(",", ":")).encode(), 9)
    head = HEAD.pack(quality, *size, len(strings), len(about))
    return head + about + b"".join(LENGTH.pack(len(one)) + one for one in strings)


def unboxed(data: bytes) -> Content:
    """Read what `boxed` wrote.

    Returns:
        Quality, (height, width), strings, shape.
    """
    quality, height, width, count, length = HEAD.unpack_from(data)
    at = HEAD.size + length
    tree, shape = json.loads(zlib.decompress(data[HEAD.size : at]))
    strings = []
    for _ in range(count):
        (size,) = LENGTH.unpack_from(data, at)
        at += LENGTH.size
        strings.append(data[at : at + size])
        at += size
    return quality, (height, width), _with_bytes(tree, iter(strings)), _tuples(shape)


def _without_bytes(strings: Any, found: list[bytes]) -> Any:
    """The same nesting with 0 in place of each string; the strings are appended to `found`."""
    if isinstance(strings, bytes):
        found.append(strings)
        return 0
    return [_without_bytes(part, found) for part in strings]


def _with_bytes(tree: Any, strings: Any) -> Any:
    return next(strings) if tree == 0 else [_with_bytes(part, strings) for part in tree]


def _plain(shape: Any) -> Any:
    """A shape as JSON can hold it."""
    if isinstance(shape, dict):
        return {key: _plain(value) for key, value in shape.items()}
    if isinstance(shape, (list, tuple)):
        return [_plain(value) for value in shape]
    return int(shape)


def _tuples(shape: Any) -> Any:
    """A shape in the form that models need: sides as tuples, lists of shapes as lists."""
    if isinstance(shape, dict):
        return {key: _tuples(value) for key, value in shape.items()}
    if isinstance(shape, list):
        values = [_tuples(value) for value in shape]
        return tuple(values) if all(isinstance(value, int) for value in values) else values
    return shape


def _need_compressai(name: str) -> None:
    try:
        import compressai  # noqa: F401
    except ImportError:
        raise BadArgument(
            f"{name} needs compressai: pip install 'compressai>=1.2.6,<2' (Python below 3.13)"
        ) from None


def _compressai() -> str:
    try:
        return f"compressai {version('compressai')}"
    except PackageNotFoundError:
        return "compressai"
