"""Two single-file executables without Python or PyTorch: `python -m codec.export.binaries OUT` writes cotam-encode and cotam-decode.

::

    checkpoint --export--> graphs/encoder --PyInstaller--> cotam-encode      the commands of codec.cli over codec.backends.onnx
                       \\-> graphs/decoder --PyInstaller--> cotam-decode
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from codec.backends.manifest import read_manifest
from codec.coding.backend import coding_of
from codec.errors import UnknownModel
from codec.guidance.files import SHIPPED
from codec.weights import checkpoint

HALVES = {"encode": "encoder", "decode": "decoder"}
LEFT_OUT = (
    "torch torchvision open_clip timm transformers compressai pytorch_lightning hydra omegaconf tensorboard matplotlib scipy "
    "pandas pyarrow ray playwright sklearn skimage IPython tkinter onnx onnxscript sympy pytest PyInstaller setuptools pip"
).split()


def build(command: str, graphs: Path, out: Path) -> Path:
    """One executable. Raises CalledProcessError where PyInstaller fails, with its output."""
    work = graphs.parent / "work" / command
    work.mkdir(parents=True, exist_ok=True)
    entry = work / f"cotam_{command}.py"
    entry.write_text(
        f"from codec.cli.standalone import run\n\nif __name__ == '__main__':\n    run({command!r})\n"
    )
    name = f"cotam-{command}"
    half = HALVES[command]
    root = Path(__file__).resolve().parents[2]
    arguments = [
        "--onefile",
        "--name",
        name,
        "--distpath",
        str(out),
        "--workpath",
        str(work),
        "--specpath",
        str(work),
    ]
    arguments += [
        "--paths",
        str(root),
        "--add-data",
        f"{(graphs / half).resolve()}:{half}",
        "--log-level",
        "WARN",
        "--noconfirm",
    ]
    arguments += ["--hidden-import", "codec.backends.onnx", "--collect-binaries", "onnxruntime"]
    if command == "encode":
        arguments += ["--add-data", f"{SHIPPED}:checkpoints/guides"]
    for module in LEFT_OUT:
        arguments += ["--exclude-module", module]
    subprocess.run([sys.executable, "-m", "PyInstaller", *arguments, str(entry)], check=True)
    return out / name


def build_both(graphs: Path, out: Path) -> list[Path]:
    """cotam-encode and cotam-decode, at the same time: PyInstaller uses one core."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda command: build(command, graphs, out), HALVES))


def ready(graphs: Path, weights: checkpoint.Checkpoint) -> bool:
    """Whether both halves of these weights lie there, as they code now."""
    try:
        found = [read_manifest(graphs / half) for half in HALVES.values()]
    except UnknownModel:
        return False
    return all(coding_of(half) == coding_of(weights) for half in found)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument(
        "--graphs",
        type=Path,
        default=Path("build/graphs"),
        help="exported halves, written if they are not there",
    )
    options = parser.parse_args()
    weights = checkpoint.load(options.model)
    if not ready(options.graphs, weights):
        from codec.export.onnx import export

        export(weights, options.graphs)
    for made in build_both(options.graphs, options.out):
        print(f"{made}: {made.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
