"""Encode all pictures of a folder with two processes; bad files are reported and skipped.

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
    """The codec of this process, loaded once."""
    return codec.load()


def encode(source: Path, target: Path) -> str:
    """Encode one file, and return a line that describes the result."""
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
