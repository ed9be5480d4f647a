r"""Two single-file executables without Python or PyTorch.

`python -m codec.export.binaries OUT` writes cotam-encode and cotam-decode. They are the commands of
codec.cli over codec.backends.onnx.

::

    checkpoint --export--> graphs/encoder --PyInstaller--> cotam-encode
                       \-> graphs/decoder --PyInstaller--> cotam-decode
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

HALVES = {"encode": "encoder", "decode": "decoder"}  # by command
# Packages that PyInstaller must not bundle. Those that only other commands import were a third of
# cotam-decode's 93 MB, and took half of the time of its build.
EXCLUDED = (
    "torch torchvision open_clip timm transformers compressai pytorch_lightning hydra omegaconf "
    "tensorboard matplotlib scipy pandas pyarrow ray playwright sklearn skimage IPython tkinter "
    "onnx onnxscript openvino sympy pytest PyInstaller setuptools pip "
    "huggingface_hub hf_xet hypothesis pygments rich pydantic cryptography aiohttp fsspec anyio "
    "httpx httpx2 httpcore2 urllib3 requests jinja2 watchdog starlette uvicorn yaml "
    "markdown_it psutil filelock tqdm numpy.testing numpy.f2py numpy.distutils unittest pydoc"
).split()


def build(command: str, graphs: Path, out: Path) -> Path:
    """Build one executable.

    Args:
        command: "encode" or "decode".
        graphs: the folder of the exported halves.
        out: the folder for the executable.

    Returns:
        The executable.

    Raises:
        subprocess.CalledProcessError: PyInstaller failed; it has printed why.
    """
    work = graphs.parent / "work" / command
    work.mkdir(parents=True, exist_ok=True)
    entry = work / f"cotam_{command}.py"
    entry.write_text(
        "from codec.cli.standalone import run\n\n"
        f"if __name__ == '__main__':\n    run({command!r})\n"
    )
    name = f"cotam-{command}"
    arguments = _arguments(command, graphs / HALVES[command], work, out)
    arguments += ["--name", name, str(entry)]
    subprocess.run([sys.executable, "-m", "PyInstaller", *arguments], check=True)
    return out / name


def _arguments(command: str, half: Path, work: Path, out: Path) -> list[str]:
    """Return PyInstaller's arguments, without the name and the entry point."""
    arguments = ["--onefile", "--noconfirm", "--log-level", "WARN"]
    arguments += ["--distpath", str(out), "--workpath", str(work), "--specpath", str(work)]
    arguments += ["--paths", str(Path(__file__).resolve().parents[2])]
    arguments += ["--add-data", f"{half.resolve()}:{half.name}"]
    for module in ("codec.backends.onnx", f"codec.cli.commands.{command}"):
        arguments += ["--hidden-import", module]
    arguments += ["--collect-binaries", "onnxruntime"]
    if command == "encode":
        arguments += ["--add-data", f"{SHIPPED}:checkpoints/guides"]
    for module in EXCLUDED:
        arguments += ["--exclude-module", module]
    return arguments


def build_both(graphs: Path, out: Path) -> list[Path]:
    """Build cotam-encode and cotam-decode in parallel; each build uses one core.

    Args:
        graphs: the folder of the exported halves.
        out: the folder for the executables.

    Returns:
        The executables.

    Raises:
        subprocess.CalledProcessError: PyInstaller failed; it has printed why.
    """
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda command: build(command, graphs, out), HALVES))


def ready(graphs: Path, weights: checkpoint.Checkpoint) -> bool:
    """Whether a folder holds both halves of these weights, with the same settings.

    Args:
        graphs: the folder of the exported halves.
        weights: the weights.

    Returns:
        False if a half is missing or codes differently (coding.backend.coding_of).
    """
    try:
        halves = [read_manifest(graphs / half) for half in HALVES.values()]
    except UnknownModel:
        return False
    return all(coding_of(half) == coding_of(weights) for half in halves)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder for the executables")
    parser.add_argument("--model", default="default", help="name or path of the weights")
    parser.add_argument(
        "--graphs",
        type=Path,
        default=Path("build/graphs"),
        help="folder of the exported halves; they are written if they are not there",
    )
    options = parser.parse_args()
    weights = checkpoint.load(options.model)
    if not ready(options.graphs, weights):
        from codec.export.onnx import export

        export(weights, options.graphs)
    for executable in build_both(options.graphs, options.out):
        print(f"{executable}: {executable.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
