"""Size and time of installs: `python -m benchmarks.install.sizes --out FILE`.

::

    wheel of this tree -> for each extra: a new environment -> pip install -> bytes, seconds

Extras with PyTorch take minutes and gigabytes each. Every row is written to FILE as soon as it is
measured, and rows that are in FILE are not measured again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.lib.output import add_options, hand_over
from codec.evaluation.machine import describe

ROOT = Path(__file__).resolve().parents[2]
PLAIN = "plain"  # a row's name for an install without extras
EXTRAS = (
    PLAIN,
    "hub",
    "export",
    "serve",
    "openvino",
    "ray",
    "torch",
    "clip",
    "mllm",
    "bench",
    "compressai",
    "train",
    "demo",
    "dev",
)


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder. Links are not followed."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def installed(wheel: Path, extra: str) -> dict[str, Any]:
    """Install a wheel into a new environment.

    Args:
        wheel: the file.
        extra: name of the extra, or PLAIN.

    Returns:
        seconds that pip took, bytes that it installed, and whether `pip check` succeeded.
    """
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [str(Path(folder) / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
        before = size_of(Path(folder))
        start = time.perf_counter()
        target = f"{wheel}[{extra}]" if extra != PLAIN else str(wheel)
        subprocess.run([*pip, "install", "--quiet", target], check=True)
        seconds = time.perf_counter() - start
        clean = subprocess.run([*pip, "check"], capture_output=True, check=False).returncode == 0
        return {"seconds": seconds, "bytes": size_of(Path(folder)) - before, "clean": clean}


def run(extras: list[str], out: Path | None) -> dict[str, Any]:
    """Build the wheel and install it with each extra.

    Args:
        extras: names of extras, or PLAIN.
        out: the file that rows are added to; existing rows are kept.

    Returns:
        The result.
    """
    result: dict[str, Any] = {"installs": {}}
    if out is not None and out.exists():
        result = json.loads(out.read_text())
    missing = [extra for extra in extras if extra not in result["installs"]]
    if not missing:
        return result
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, "."]
        subprocess.run(command, cwd=ROOT, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        result |= {"machine": describe(), "wheel_bytes": wheel.stat().st_size}
        for extra in missing:
            result["installs"][extra] = installed(wheel, extra)
            rows = result["installs"]
            result["installs"] = {name: rows[name] for name in EXTRAS if name in rows}
            if out is not None:
                out.write_text(json.dumps(result, indent=1) + "\n")
    return result


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--extras", default=",".join(EXTRAS), help="names, with commas")
    add_options(parser)
    options = parser.parse_args()
    result = run(options.extras.split(","), options.out)
    if not hand_over(result, options):
        print(f"wheel: {result['wheel_bytes'] / 1e6:.1f} MB")
        for name, one in result["installs"].items():
            print(
                f"{name}: {one['bytes'] / 1e6:.0f} MB in {one['seconds']:.0f} s, "
                f"pip check {'clean' if one['clean'] else 'found conflicts'}"
            )


if __name__ == "__main__":
    main()
