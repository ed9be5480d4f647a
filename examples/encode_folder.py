"""Encode all pictures of a folder with two processes; a bad file does not stop the others.

python examples/encode_folder.py pictures/ coded/

The command does the same: cotam encode pictures/ -o coded/ -j 2
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import codec


@cache
def cotam() -> codec.Codec:
    """One codec a process."""
    return codec.load()


def encode(source: Path, target: Path) -> str:
    """Encode one file; returns a line about it."""
    try:
        data = cotam().encode(source, quality=50)
    except codec.CodecError as error:
        return f"{source.name}: {error}"
    target.write_bytes(data)
    return f"{source.name}: {source.stat().st_size} -> {len(data)} bytes"


if __name__ == "__main__":
    sources = sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_file())
    out = Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    targets = [out / f"{source.name}.ctm" for source in sources]
    with ProcessPoolExecutor(2) as pool:
        print(*pool.map(encode, sources, targets), sep="\n")
