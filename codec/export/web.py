"""A folder that any static server can serve: the viewer, graphs of weights, and the runtime.

::

    codec/web --esbuild, if there--> index.html, cotam.js, module/worker.js, parts/
    checkpoint --graphs, compact---> models/FINGERPRINT/  model.json, tables.bin, *.onnx
    onnxruntime-web ---------------> runtime/
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from codec import web
from codec.errors import BadArgument, CodecError
from codec.graphs.half import PREVIEW, SYNTHESIS, graph_file, makers
from codec.networks.config import PRIOR_STEPS
from codec.weights.checkpoint import Checkpoint

# The part of onnxruntime-web that runs graphs by WebAssembly, without WebGPU.
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
PACKAGE = "onnxruntime-web"
# Bundles and minifies the JavaScript; without it, the sources are copied unchanged.
BUNDLER = "esbuild"
# Pattern of the files that hold the code that several entries share.
BUNDLE = "cotam-" + "[A-Z0-9]" * 8 + ".js"
# Modules that a page or a browser loads by name.
ENTRIES = ("cotam.js", "module/worker.js", "parts/element.js", "page.js", "view.js")
FETCHED = (f"{PACKAGE}@>=1.20 <2", f"{BUNDLER}@>=0.20 <1")
NPM = "npm"
# Environment variable: the folder of an installed onnxruntime-web.
VARIABLE = "COTAM_ORT_WEB"
RUN_SECONDS = 600


def export(checkpoint: Checkpoint, folder: Path, runtime: Path) -> dict[str, int]:
    """Write the viewer. A further call adds other weights to the same folder.

    Args:
        checkpoint: the weights.
        folder: where to write; it is made if necessary.
        runtime: an installed onnxruntime-web (`find_runtime`).

    Returns:
        Bytes by part: page and module, weights, runtime.

    Raises:
        CodecError: the weights or the runtime are not usable.
    """
    files = runtime_files(runtime)
    page = write_module(folder, "page", bundler=runtime.parent / BUNDLER)
    weights = write_weights(checkpoint, folder / "models" / checkpoint.fingerprint.hex())
    (folder / "runtime").mkdir(exist_ok=True)
    for file in files:
        shutil.copyfile(file, folder / "runtime" / file.name)
    return {
        "page and module": page,
        "weights": weights,
        "runtime": sum(file.stat().st_size for file in files),
    }


def write_module(folder: Path, *pages: str, bundler: Path | None = None) -> int:
    """Write the module and pages; the files of a page are placed beside the module.

    Args:
        folder: where to write.
        pages: their names.
        bundler: the folder of an installed esbuild, which joins the modules to a few small files;
            the sources are copied without it.

    Returns:
        Their bytes.

    Raises:
        CodecError: the bundler fails.
    """
    node = shutil.which("node")
    with tempfile.TemporaryDirectory() as place:
        made = Path(place)
        for path in web.files_of(*web.MODULE, *pages):
            # Pages are placed beside the module, where their imports expect it.
            _copy(web.FOLDER / path, made / (path.name if path.parts[0] in pages else path))
        if bundler is not None and bundler.is_dir() and node is not None:
            _bundle(made, node, bundler)
            for earlier in folder.glob(BUNDLE):
                earlier.unlink()
        files = [path for path in made.rglob("*") if path.is_file()]
        for path in files:
            _copy(path, folder / path.relative_to(made))
        return sum(path.stat().st_size for path in files)


def _bundle(folder: Path, node: str, bundler: Path) -> None:
    """Replace modules by a minified file for each entry and for each part that entries share.

    A browser then waits for fewer requests that follow each other.
    """
    sources = list(folder.rglob("*.js"))
    entries = [path for path in sources if path.relative_to(folder).as_posix() in ENTRIES]
    options = ["--bundle", "--splitting", "--format=esm", "--minify", "--allow-overwrite"]
    options += [f"--outbase={folder}", f"--outdir={folder}", "--chunk-names=cotam-[hash]"]
    command = [node, str(bundler / "bin" / BUNDLER), *map(str, entries), *options]
    _run([*command, "--log-level=error"], f"{BUNDLER} could not make the page smaller")
    for path in set(sources) - set(entries):
        path.unlink()


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def write_weights(checkpoint: Checkpoint, folder: Path) -> int:
    """Write the graphs that decode, in compact form, and the entropy tables; return their bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    made = makers(checkpoint, compact=True)
    names = graphs_in_order(checkpoint)
    for name in names:
        (folder / name).write_bytes(made[name]())
    tables = checkpoint.tables
    (folder / "tables.bin").write_bytes(tables.frequencies.astype("<u2").tobytes())
    facts = {
        "name": checkpoint.name,
        "fingerprint": checkpoint.fingerprint.hex(),
        "layers": [{"start": one.start, "stop": one.stop} for one in checkpoint.layers],
        "skip_below": checkpoint.skip_below,
        "margin": checkpoint.margins[1],
        "lengths": np.asarray(tables.lengths).tolist(),
        "graphs": [name.removesuffix(".onnx") for name in names],
    }
    (folder / "model.json").write_text(json.dumps(facts) + "\n")
    return sum(path.stat().st_size for path in folder.iterdir())


def graphs_in_order(checkpoint: Checkpoint) -> list[str]:
    """Names of a decoder's graphs, in the order in which decoding needs them."""
    names = []
    for layer in checkpoint.layers:
        names.append(graph_file("features", layer))
        names += [graph_file("step", layer, step) for step in range(PRIOR_STEPS)]
        if layer != checkpoint.layers[-1]:
            names.append(PREVIEW)
    return [*names, SYNTHESIS]


def runtime_files(runtime: Path) -> list[Path]:
    """The files of onnxruntime-web that a page needs. Raises BadArgument where one is missing."""
    folder = runtime / "dist" if (runtime / "dist").is_dir() else runtime
    files = [folder / name for name in RUNTIME]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise BadArgument(
            f"{runtime} is no onnxruntime-web ({missing[0]} is missing); give the folder "
            f"node_modules/onnxruntime-web, or '{NPM}' to fetch it"
        )
    return files


def cached_runtime() -> Path:
    """The folder in the user's cache into which `npm` installs onnxruntime-web."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "cotam" / "npm" / "node_modules" / PACKAGE


def find_runtime(given: str | None = None) -> Path:
    """Find onnxruntime-web.

    Args:
        given: its folder, or `npm` to install it into the user's cache; otherwise the folder in
            COTAM_ORT_WEB or the cache.

    Returns:
        Its folder.

    Raises:
        CodecError: it is not there, or npm fails.
    """
    if given == NPM:
        return installed_runtime()
    if given is not None:
        return Path(given)
    folder = Path(os.environ.get(VARIABLE) or cached_runtime())
    if not folder.is_dir():
        raise BadArgument(
            f"the page runs on {PACKAGE}, which is not here: --runtime {NPM} fetches it, "
            "--runtime PATH names its folder"
        )
    return folder


def installed_runtime() -> Path:
    """Install onnxruntime-web into the user's cache by npm. Raises CodecError."""
    target = cached_runtime()
    if all((target / "dist" / name).is_file() for name in RUNTIME):
        return target
    npm = shutil.which(NPM)
    if npm is None:
        raise BadArgument(f"{PACKAGE} is fetched by npm, which is not installed")
    target.parent.parent.mkdir(parents=True, exist_ok=True)
    prefix = str(target.parent.parent)
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", prefix]
    _run([*command, *FETCHED], f"npm could not install {PACKAGE}")
    return target


def _run(command: list[str], failure: str) -> None:
    """Run a program. Raises CodecError, which begins with `failure`."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CodecError(f"{failure}: {type(error).__name__}") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise CodecError(f"{failure}: {last}")
