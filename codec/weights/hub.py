"""Weights on the Hugging Face Hub: `hf://org/name`, optionally `hf://org/name@revision`.

::

    hf://org/name -> huggingface_hub (its cache, its token, its offline mode) -> cotam.safetensors
    weights, card -> a model repository with cotam.safetensors and README.md
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codec.errors import BadArgument, UnknownModel, sentence

SCHEME = "hf://"
WEIGHTS_FILE = "cotam.safetensors"
CARD_FILE = "README.md"
# HTTP clients that versions of huggingface_hub use, each with its own errors.
CLIENTS = ("httpx", "httpcore", "requests")


def is_address(name: str) -> bool:
    """Whether a name of weights is an address on the hub."""
    return name.startswith(SCHEME)


def on_disk(name: str) -> str:
    """The path of the weights at an address; any other name as it is. Raises as `fetch` does."""
    return str(fetch(name)) if is_address(name) else name


def fetch(address: str) -> Path:
    """The file of weights behind an address; from the cache where it is there already.

    Args:
        address: hf://org/name or hf://org/name@revision.

    Returns:
        The file in the library's cache.

    Raises:
        BadArgument: the address is malformed, or huggingface_hub is not installed.
        UnknownModel: there is no such file, or the hub cannot be reached.
    """
    repository, _, revision = address.removeprefix(SCHEME).partition("@")
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise BadArgument(f"an address on the hub looks like {SCHEME}org/name, not {address}")
    hub = _library()
    with _in_a_sentence(f"no weights at {address}"):
        return Path(hub.hf_hub_download(repository, WEIGHTS_FILE, revision=revision or None))


def push(weights: Path, card: str, repository: str) -> str:
    """Upload weights and their card; the repository is made where it is missing.

    Args:
        weights: a .safetensors file.
        card: Markdown with YAML front matter.
        repository: org/name.

    Returns:
        The address of the weights.

    Raises:
        BadArgument: huggingface_hub is not installed.
        UnknownModel: the hub refuses, or cannot be reached.
    """
    hub = _library()
    api = hub.HfApi()
    with _in_a_sentence(f"{repository} was not updated"):
        api.create_repo(repository, repo_type="model", exist_ok=True)
        api.create_commit(
            repository,
            operations=[
                hub.CommitOperationAdd(WEIGHTS_FILE, str(weights)),
                hub.CommitOperationAdd(CARD_FILE, card.encode()),
            ],
            commit_message="Upload weights",
        )
    return f"{SCHEME}{repository}"


@contextmanager
def _in_a_sentence(what: str) -> Iterator[None]:
    """Turn what the library and its client raise into UnknownModel."""
    try:
        yield
    except Exception as error:
        usual = isinstance(error, (OSError, ValueError, RuntimeError))
        if not usual and not type(error).__module__.startswith(CLIENTS):
            raise
        raise UnknownModel(f"{what}: {sentence(error)}") from None


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise BadArgument("the hub needs huggingface_hub: pip install 'cotam[hub]'") from None
    return huggingface_hub
