"""Where the weights of a vision tower come from: a file, the local cache or the network; never through pickled code."""

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

SECONDS_TO_ANSWER = 5.0
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
OFFLINE = "give them as a file, or go without (--guide student, no --tune)"


def need(package: str) -> ModuleType:
    """The package, imported now. Raises GuideUnavailable where it is not installed."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        message = f"{package} is not installed (pip install 'cotam[clip]'), or go without it (--guide student, no --tune)"
        raise GuideUnavailable(message) from error


def is_path(weights: str) -> bool:
    """Whether this means a file rather than the tag of published weights."""
    return weights.endswith(SUFFIXES) or "/" in weights or Path(weights).is_file()


def from_hub(repository: str, files: Sequence[str]) -> Path:
    """The first of these files that the repository has, from the cache without asking the network where it is there.

    Raises GuideUnavailable where it is in no cache and cannot be downloaded.
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
    """Raises GuideUnavailable within seconds where nothing answers: the hub's own client would retry for a minute."""
    from huggingface_hub import get_session

    try:
        get_session().head(url, timeout=SECONDS_TO_ANSWER)
    except Exception as error:  # of whichever HTTP client the hub's version uses
        raise GuideUnavailable(
            f"the weights of {what} are not on this machine and {url} cannot be reached; {OFFLINE}"
        ) from error


def open_clip_file(published: Mapping[str, Any], what: str) -> Path:
    """The file of an entry of open_clip's table of published weights. Raises GuideUnavailable."""
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
    """A state dict, in float32. Only the entries under `prefix`, without it, where the file has such.

    Raises UnknownModel for a missing file and for one that is neither safetensors nor a plain PyTorch state dict.
    """
    if not path.is_file():
        raise UnknownModel(f"there is no file {path} to load a vision tower from")
    try:
        state = (
            _read_safetensors(path, prefix)
            if path.suffix == ".safetensors"
            else _read_torch(path, prefix)
        )
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise UnknownModel(
            f"{path} is neither a safetensors file nor a plain PyTorch state dict"
        ) from error
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }


def _wanted(names: Sequence[str], prefix: str) -> dict[str, str]:
    part = [name for name in names if name.startswith(prefix)]
    return {name: name.removeprefix(prefix) for name in part or names}


def _read_safetensors(path: Path, prefix: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {
                short: file.get_tensor(name)
                for name, short in _wanted(list(file.keys()), prefix).items()
            }
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
    return {short: state[name] for name, short in _wanted(list(state), prefix).items()}


def fill(module: nn.Module, state: Mapping[str, Tensor], path: Path, name: str) -> None:
    """Loads strictly. Raises UnknownModel where a tensor is missing, too many or of another shape."""
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise UnknownModel(f"the weights in {path} are not those of {name}") from error
