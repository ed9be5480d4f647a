"""Chooses the library that runs the networks: the one asked for, else one that is installed."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import Literal, get_args

from codec.errors import BadArgument

Runtime = Literal["auto", "torch", "onnx", "openvino"]
RUNTIMES: tuple[str, ...] = get_args(Runtime)
# Environment variable that names the runtime for "auto".
VARIABLE = "COTAM_BACKEND"
# Devices that every machine has, so that no check is needed.
USUAL_DEVICES = ("auto", "cpu")
# The device file of NVIDIA's driver: looking for it takes microseconds, asking PyTorch a second.
GPU = "/dev/nvidiactl"


def check(runtime: str) -> None:
    """Raises BadArgument for an unknown runtime."""
    if runtime not in RUNTIMES:
        raise BadArgument(f"backend must be one of {', '.join(RUNTIMES)}, not '{runtime}'")


def chosen(runtime: str, device: str) -> Literal["torch", "onnx", "openvino"]:
    """The runtime for a device.

    ONNX Runtime starts in a tenth of a second and PyTorch in more than one, so PyTorch is chosen
    where the program has loaded it already, for a GPU, and where nothing else is installed.
    OpenVINO takes a second to compile its graphs, so it is chosen by name only.

    Args:
        runtime: one of RUNTIMES; `auto` may be replaced by COTAM_BACKEND.
        device: `auto`, `cpu`, `cuda`, or any other name that torch accepts.

    Returns:
        The name.

    Raises:
        BadArgument: the runtime is unknown, or neither is installed.
    """
    wanted = os.environ.get(VARIABLE, "auto") if runtime == "auto" else runtime
    check(wanted)
    if wanted != "auto":
        return wanted  # type: ignore[return-value]
    gpu = device == "auto" and os.path.exists(GPU)
    # The entry is None if the program has forbidden the import.
    imported = sys.modules.get("torch") is not None
    if device not in USUAL_DEVICES or imported or (gpu and find_spec("torch")):
        return "torch"
    if find_spec("onnxruntime"):
        return "onnx"
    if find_spec("torch"):
        return "torch"
    raise BadArgument("the networks need ONNX Runtime: pip install onnxruntime")
