"""The table of docs/packaging.md, from committed JSON."""

from __future__ import annotations

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
