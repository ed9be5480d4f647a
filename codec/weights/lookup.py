"""Finds weights by name, path or fingerprint. No numpy here, so that `cotam info` starts fast."""

from __future__ import annotations

import json
from pathlib import Path

from codec.errors import UnknownModel
from codec.weights.shipped import SUFFIX, folders, own_files

# Where weights are looked for, in the words of an error.
WHERE = (
    "install cotam-models, name their folder in COTAM_WEIGHTS, call codec.register_weights(path), "
    "or give their path as the model"
)
DEFAULT = "small"  # the weights that the name "default" means
# A safetensors file begins with the length of its header, a JSON object (safetensors, "Format").
LENGTH_BYTES = 8
MOST_HEADER = 100_000_000


def names() -> list[str]:
    """Return the names of the installed weights, sorted."""
    return sorted({path.stem for folder in folders() for path in folder.glob(f"*{SUFFIX}")})


def by_fingerprint(fingerprint: bytes) -> str | None:
    """Find weights by fingerprint; reads only metadata.

    Args:
        fingerprint: the first bytes of the SHA-256, as files store them.

    Returns:
        The name of installed weights, else the path of a user's own; None if none match.
    """
    digits = fingerprint.hex()
    for name in names():
        if stored_fingerprint(find(name)) == digits:
            return name
    return next((str(path) for path in own_files() if stored_fingerprint(path) == digits), None)


def stored_fingerprint(path: Path) -> str | None:
    """Read the fingerprint in a checkpoint's metadata; None where the file is unreadable."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            header = json.loads(file.read(min(length, MOST_HEADER)))
        return json.loads(header["__metadata__"]["cotam"]).get("fingerprint")
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def find(name_or_path: str | Path) -> Path:
    """Find the file of weights.

    Args:
        name_or_path: as `load` takes it; a name wins over a file of the same name, and installed
            weights over a user's own.

    Returns:
        The file's path.

    Raises:
        UnknownModel: there are no such weights; the message lists the names.
    """
    name = str(name_or_path)
    if name == "default":
        name = DEFAULT
    shipped = [folder / f"{name}{SUFFIX}" for folder in folders()]
    own = [path for path in own_files() if path.stem == name]
    # A file called `small` in the working folder must not replace the shipped weights.
    for path in (*shipped, *own, Path(name_or_path)):
        if path.is_file():
            return path
    shipped_names = ", ".join(names()) or "none"
    raise UnknownModel(
        f"no weights named '{name}' (there are: {shipped_names}) and no file of that name; "
        "pip install cotam-models adds more"
    )
