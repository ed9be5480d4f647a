"""Speed of CoTAM compared with an older commit: `python -m benchmarks.install.speed`.

::

    whole commands ---------------------------------------> seconds, peak memory
    a process for each backend and for the older commit,
        alternating, on an idle and on a busy machine ----> milliseconds by stage, slowdown
    a folder of pictures, now and with the older commit --> pictures per second
    one file, every backend, one thread and two ----------> hashes of y_hat

With --out FILE, every part is written as soon as it is measured, and is not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image

from benchmarks.lib.output import add_options, hand_over
from benchmarks.lib.timing import WARM_UP, command
from codec.evaluation.judges import data_root
from codec.evaluation.machine import describe

ROOT = Path(__file__).resolve().parents[2]
PROBE = Path(__file__).with_name("probe.py")
# The last commit that needed PyTorch to run the networks.
BASELINE = "980e303"
SIZE = (768, 512)
ROUNDS = 9
FOLDER_COUNT = 200
BUSY = 2  # number of processes that keep the machine busy
BUSY_LOOP = "while True: pass"
HASH = """
import hashlib, os, sys
import codec
backend, path = sys.argv[1:]
cotam = codec.load(device="cpu", backend=backend)
if backend == "torch":
    import torch
    torch.set_num_threads(int(os.environ["COTAM_THREADS"]))
latents = cotam.decode(open(path, "rb").read(), level="latents")
print(hashlib.sha256(latents.tobytes()).hexdigest())
"""
Rows = list[dict[str, dict[str, float]]]


def environment(checkout: Path, **more: str) -> dict[str, str]:
    """Environment variables of a process that imports `codec` from a checkout."""
    return os.environ | {"PYTHONPATH": str(checkout)} | more


@contextmanager
def checkout_of(commit: str, folder: Path) -> Iterator[Path]:
    """A folder with a commit of this repository; it is removed when the context ends."""
    place = folder / "baseline"
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(place), commit], check=True)
    try:
        yield place
    finally:
        subprocess.run([*git, "remove", "--force", str(place)], check=True)


class Probe:
    """A process that codes a picture on request; see benchmarks.install.probe.

    Args:
        checkout: the checkout whose `codec` it imports.
        backend: the backend that runs the networks.
        picture: a picture file.
    """

    def __init__(self, checkout: Path, backend: str, picture: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(PROBE), backend, str(picture)],
            env=environment(checkout),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def round(self) -> dict[str, dict[str, float]]:
        """Code once. Returns milliseconds by call and stage. Raises RuntimeError if it ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a probe ended with status {self.process.wait()}")
        outcome: dict[str, dict[str, float]] = json.loads(line)
        return outcome


@contextmanager
def busy_machine() -> Iterator[None]:
    """Run BUSY processes with endless loops during the context."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY_LOOP]) for _ in range(BUSY)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def in_turns(probes: dict[str, Probe]) -> dict[str, Any]:
    """Medians over ROUNDS rounds; in each round, all probes run once."""
    rows: dict[str, Rows] = {name: [] for name in probes}
    for index in range(ROUNDS + WARM_UP):
        for name, probe in probes.items():
            row = probe.round()
            if index >= WARM_UP:
                rows[name].append(row)
    return {name: medians(of_probe) for name, of_probe in rows.items()}


def medians(rows: Rows) -> dict[str, dict[str, float]]:
    """The median of each stage of each call."""
    return {
        call: {stage: median(row[call][stage] for row in rows) for stage in stages}
        for call, stages in rows[0].items()
    }


def backends(picture: Path, baseline: Path) -> dict[str, Any]:
    """Milliseconds of every backend and of the baseline, on an idle and on a busy machine.

    Args:
        picture: a picture file.
        baseline: a checkout of the older commit.

    Returns:
        By name: `alone`, `busy`, and `slowdown_to_avif` by call.
    """
    systems = {name: (ROOT, name) for name in runtimes()} | {"baseline": (baseline, "torch")}
    with ExitStack() as stack:
        probes = {
            name: stack.enter_context(Probe(*where, picture)) for name, where in systems.items()
        }
        alone = in_turns(probes)
        with busy_machine():
            busy = in_turns(probes)
    return {
        name: {
            "alone": alone[name],
            "busy": busy[name],
            "slowdown_to_avif": slowdown(alone[name], busy[name]),
        }
        for name in systems
    }


def slowdown(alone: dict[str, Any], busy: dict[str, Any]) -> dict[str, float]:
    """The slowdown of encode and decode on a busy machine, relative to AVIF's slowdown."""
    slower = {call: busy[call]["total"] / alone[call]["total"] for call in alone}
    return {way: slower[way] / slower[f"avif {way}"] for way in ("encode", "decode")}


def runtimes() -> tuple[str, ...]:
    """The backends that are installed."""
    return ("onnx", "torch", "openvino") if find_spec("openvino") else ("onnx", "torch")


def folders(pictures: Path, baseline: Path) -> dict[str, float]:
    """Pictures per second of `cotam encode FOLDER` with its start, now and in the older commit."""
    seconds: dict[str, float] = {}
    for name, checkout in {"baseline": baseline, "now": ROOT}.items():
        with tempfile.TemporaryDirectory() as out:
            run = [sys.executable, "-m", "codec.cli", "encode", str(pictures), "-o", f"{out}/out"]
            start = time.perf_counter()
            subprocess.run(
                run, env=environment(checkout), check=True, stdout=subprocess.DEVNULL, cwd=out
            )
            seconds[name] = time.perf_counter() - start
    return {name: FOLDER_COUNT / spent for name, spent in seconds.items()}


def commands(photo: Path) -> dict[str, Any]:
    """Seconds and peak memory of whole commands."""
    file = photo.with_suffix(".ctm")
    return {
        "encode": command(["encode", str(photo), "-o", str(file)], ROUNDS),
        "decode": command(["decode", str(file), "-o", str(photo.with_name("out.png"))], ROUNDS),
        "info": command(["info", str(file)], ROUNDS),
    }


def hashes(photo: Path) -> dict[str, str]:
    """The hash of a file's y_hat by backend and number of threads."""
    file = photo.with_name("hashed.ctm")
    encode = [sys.executable, "-m", "codec.cli", "encode", str(photo), "-o", str(file)]
    subprocess.run(encode, check=True, stdout=subprocess.DEVNULL, env=environment(ROOT))
    found = {}
    for backend in runtimes():
        for threads in ("1", "2"):
            run = [sys.executable, "-c", HASH, backend, str(file)]
            done = subprocess.run(
                run,
                env=environment(ROOT, COTAM_THREADS=threads),
                check=True,
                capture_output=True,
                text=True,
            )
            found[f"{backend}, {threads}"] = done.stdout.strip()
    return found


def pictures_into(folder: Path) -> None:
    """Write FOLDER_COUNT pictures of SIZE, which are crops of the Kodak pictures."""
    sources = sorted((data_root() / "eval" / "kodak").iterdir())
    for index in range(FOLDER_COUNT):
        with Image.open(sources[index % len(sources)]) as image:
            picture = image.convert("RGB")
        if picture.width < picture.height:
            picture = picture.rotate(90, expand=True)
        shift = index // len(sources)
        box = (shift, shift, picture.width - 8 + shift, picture.height - 8 + shift)
        picture.resize(SIZE, box=box).save(folder / f"{index:03d}.png", compress_level=3)


def run(baseline: str, out: Path | None) -> dict[str, Any]:
    """Measure all parts that are not in `out`.

    Args:
        baseline: the older commit.
        out: the file that parts are added to; None for no file.

    Returns:
        The result.
    """
    result: dict[str, Any] = {}
    if out is not None and out.exists():
        result = json.loads(out.read_text())
    result |= {"machine": describe(), "size": SIZE, "baseline": baseline}
    result["folder_pictures"] = FOLDER_COUNT
    with tempfile.TemporaryDirectory() as name, checkout_of(baseline, Path(name)) as before:
        pictures = Path(name) / "pictures"
        pictures.mkdir()
        pictures_into(pictures)
        photo = Path(name) / "photo.png"
        shutil.copy(pictures / "000.png", photo)
        parts = {
            "commands": lambda: commands(photo),
            "backends": lambda: backends(photo, before),
            "folder": lambda: folders(pictures, before),
            "y_hat": lambda: hashes(photo),
        }
        for part, measure in parts.items():
            if part not in result:
                result[part] = measure()
                if out is not None:
                    out.write_text(json.dumps(result, indent=1) + "\n")
    return result


def summary(result: dict[str, Any]) -> Iterator[str]:
    """The most important results as text."""
    for name, one in result["commands"].items():
        yield f"cotam {name}: {one['seconds']:.2f} s, {one['peak_mb']:.0f} MB"
    before = result["backends"]["baseline"]["alone"]
    for name, one in result["backends"].items():
        for way in ("encode", "decode"):
            now = one["alone"][way]
            yield (
                f"{name} {way}: {now['total']:.0f} ms, {now['total'] / before[way]['total']:.2f} "
                f"of the baseline (prior {now['prior'] / before[way]['prior']:.2f}); "
                f"beside busy processes {one['slowdown_to_avif'][way]:.2f} of AVIF's slowdown"
            )
    for name, rate in result["folder"].items():
        yield f"folder, {name}: {rate:.2f} pictures a second"
    yield f"hashes of y_hat: {len(set(result['y_hat'].values()))}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--baseline", default=BASELINE, help="a commit to compare with")
    add_options(parser)
    options = parser.parse_args()
    result = run(options.baseline, options.out)
    if not hand_over(result, options):
        print("\n".join(summary(result)))


if __name__ == "__main__":
    main()
