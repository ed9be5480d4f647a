"""The tables of docs/packaging.md, from committed JSON."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.lib.markdown import load, rows_to_markdown

# Extra -> what it adds, as docs/packaging.md describes it.
ADDS = {
    "plain": "ONNX Runtime: everything is encoded and decoded",
    "hub": "huggingface_hub: weights at `hf://org/name`",
    "export": "onnx: exported transforms in int8",
    "serve": "starlette, httpx and uvicorn: the [gateway](gateway.md)",
    "openvino": "OpenVINO: another library for analysis and synthesis",
    "ray": "Ray Data",
    "torch": "PyTorch: towers, tuning, gradients, GPUs",
    "clip": "open_clip and timm: the guide `clip`, tuning to CLIP",
    "mllm": "transformers and torchvision: `.ctm` in MLLM hosts, tokens from latents",
    "bench": "what `cotam eval` and the benchmarks compare and draw with",
    "compressai": "learned codecs to compare with",
    "train": "Lightning, Hydra and what training reads and logs",
    "demo": "what `make demo` needs",
    "dev": "tests, linters, builds",
}


def installs_table() -> str:
    """What an install with each extra adds, its size, and whether `pip check` succeeded."""
    result = load("install")
    rows = [
        [
            f"`cotam[{name}]`" if name != "plain" else "`cotam`",
            ADDS[name],
            f"{one['bytes'] / 1e6:,.0f} MB",
            "clean" if one["clean"] else "conflicts",
        ]
        for name, one in result["installs"].items()
    ]
    return rows_to_markdown(["install", "what it adds", "size", "`pip check`"], rows)


def commands_table() -> str:
    """Time and memory of whole commands."""
    result = load("install_speed")
    rows = [
        [f"`cotam {name}`", f"{one['seconds']:.2f} s", f"{one['peak_mb']:.0f} MB"]
        for name, one in result["commands"].items()
    ]
    return rows_to_markdown(["command", "time", "peak memory"], rows)


def in_process_table() -> str:
    """Time of each backend and of an older commit, and the slowdown beside busy processes."""
    result = load("install_speed")
    before = result["backends"]["baseline"]["alone"]
    rows = []
    for name, one in result["backends"].items():
        cells = [
            ", ".join(
                f"{one['alone'][way][stage]:.0f} ms "
                f"({one['alone'][way][stage] / before[way][stage]:.2f})"
                for stage in ("total", "prior")
            )
            for way in ("encode", "decode")
        ]
        slower = one["slowdown_to_avif"]
        shown = f"PyTorch at commit {result['baseline']}" if name == "baseline" else f"`{name}`"
        rows.append([shown, *cells, f"{slower['encode']:.2f}, {slower['decode']:.2f}"])
    head = ["backend", "encode, its prior", "decode, its prior", "slowdown relative to AVIF's"]
    return rows_to_markdown(head, rows)


def folder_table() -> str:
    """Pictures per second of `cotam encode FOLDER`, now and with an older commit."""
    result = load("install_speed")
    now, before = result["folder"]["now"], result["folder"]["baseline"]
    head = ["pictures a second", f"at commit {result['baseline']}", "ratio"]
    return rows_to_markdown(head, [[f"{now:.2f}", f"{before:.2f}", f"{now / before:.2f}"]])


INSTALL_TABLES: dict[str, Callable[[], str]] = {
    "installs": installs_table,
    "install_commands": commands_table,
    "install_backends": in_process_table,
    "install_folder": folder_table,
}
