"""Where the weights of a vision tower come from: a file, the local cache or the network.

Nothing is ever loaded through pickled code.
"""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from codec.errors import GuideUnavailable, UnknownModel

SECONDS_TO_ANSWER = 5.0  # how long a server may take to answer
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")  # of files with weights
OFFLINE = "give them as a file, or do without them (guide='student', no tune)"


def need(package: str) -> ModuleType:
    """Import a package now.

    Args:
        package: its name.

    Returns:
        The package.

    Raises:
        GuideUnavailable: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise GuideUnavailable(
            f"{package} is not installed (pip install 'cotam[clip]'), "
            "or do without it (guide='student', no tune)"
        ) from error


def is_path(weights: str) -> bool:
    """Whether weights are a file rather than the tag of published ones."""
    return weights.endswith(SUFFIXES) or "/" in weights or Path(weights).is_file()


def from_hub(repository: str, files: Sequence[str]) -> Path:
    """Find the first of several files in a repository of the hub.

    The network is used only if none of the files is in the local cache.

    Args:
        repository: the repository's name.
        files: names of files, in order of preference.

    Returns:
        The file in the cache.

    Raises:
        GuideUnavailable: the file is not in the cache and cannot be downloaded.
    """
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError

    for file in files:
        cached = try_to_load_from_cache(repository, file)
        if isinstance(cached, str):
            return Path(cached)
    require_connection(constants.ENDPOINT, repository)
    for file in files:
        try:
            return Path(hf_hub_download(repository, file))
        except EntryNotFoundError:
            continue
        except Exception as error:
            raise GuideUnavailable(f"{repository} cannot be downloaded; {OFFLINE}") from error
    raise GuideUnavailable(f"{repository} has none of {', '.join(files)}; {OFFLINE}")


def require_connection(url: str, what: str) -> None:
    """Check that a server answers, within seconds; the hub's client would retry for a minute.

    Args:
        url: the server.
        what: whose weights are needed, for the error's message.

    Raises:
        GuideUnavailable: the server does not answer.
    """
    from huggingface_hub import get_session

    try:
        get_session().head(url, timeout=SECONDS_TO_ANSWER)
    except Exception as error:  # the type depends on the HTTP client of the hub's version
        raise GuideUnavailable(
            f"the weights of {what} are not on this machine and {url} cannot be reached; {OFFLINE}"
        ) from error


def open_clip_file(published: Mapping[str, Any], what: str) -> Path:
    """Find or download published weights of open_clip.

    Args:
        published: an entry of open_clip's table.
        what: whose weights these are, for the error's message.

    Returns:
        The file in the cache.

    Raises:
        GuideUnavailable: the file is not in the cache and cannot be downloaded.
    """
    if published.get("hf_hub"):
        repository, _, file = str(published["hf_hub"]).rpartition("/")
        file = file or "open_clip_pytorch_model.bin"
        safe = (
            "open_clip_model.safetensors"
            if file == "open_clip_pytorch_model.bin"
            else f"{Path(file).stem}.safetensors"
        )
        return from_hub(repository, (safe, file))
    url = str(published.get("url", ""))
    cache = Path.home() / ".cache" / "clip"
    if not (cache / Path(url).name).is_file():
        require_connection(url, what)
    try:
        return Path(need("open_clip").download_pretrained(dict(published), cache_dir=str(cache)))
    except Exception as error:
        raise GuideUnavailable(
            f"the weights of {what} cannot be downloaded from {url}; {OFFLINE}"
        ) from error


def read_state(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """Read a state dict.

    Args:
        path: a safetensors file or a plain PyTorch state dict.
        prefix: if entries start with it, only those are read, under the rest of their names.

    Returns:
        Tensors by name, floats in float32.

    Raises:
        UnknownModel: the file is missing or of another kind.
    """
    if not path.is_file():
        raise UnknownModel(f"there is no file {path} to load a vision tower from")
    read = _read_safetensors if path.suffix == ".safetensors" else _read_torch
    try:
        state = read(path, prefix)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise UnknownModel(
            f"{path} is neither a safetensors file nor a plain PyTorch state dict"
        ) from error
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }


def _short_names(names: Sequence[str], prefix: str) -> dict[str, str]:
    """Map the names under a prefix, or all if none are, to names without it."""
    part = [name for name in names if name.startswith(prefix)]
    return {name: name.removeprefix(prefix) for name in part or names}


def _read_safetensors(path: Path, prefix: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            short_names = _short_names(list(file.keys()), prefix)
            return {short: file.get_tensor(name) for name, short in short_names.items()}
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _read_torch(path: Path, prefix: str) -> dict[str, Tensor]:
    content = torch.load(path, map_location="cpu", weights_only=True)
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise ValueError("not a state dict")
    state = {name.removeprefix("module."): tensor for name, tensor in content.items()}
    return {short: state[name] for name, short in _short_names(list(state), prefix).items()}


def fill(module: nn.Module, state: Mapping[str, Tensor], path: Path, name: str) -> None:
    """Load a state dict strictly.

    Args:
        module: gets the weights.
        state: the weights.
        path: their file, for the error's message.
        name: the model's name, for the error's message.

    Raises:
        UnknownModel: a tensor is missing, unexpected or of another shape.
    """
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise UnknownModel(f"the weights in {path} are not those of {name}") from error
