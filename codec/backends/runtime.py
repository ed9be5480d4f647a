"""Which library runs the networks: the one asked for, else what is installed and fits."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import Literal, get_args

from codec.errors import BadArgument

Runtime = Literal["auto", "torch", "onnx", "openvino"]
RUNTIMES: tuple[str, ...] = get_args(Runtime)
# Environment variable with the runtime that "auto" means.
VARIABLE = "COTAM_BACKEND"
# Devices that need no look at the machine.
USUAL_DEVICES = ("auto", "cpu")
# The driver's own file: looking for it takes microseconds, asking PyTorch a second.
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
    # None: a program may forbid an import that way.
    imported = sys.modules.get("torch") is not None
    if device not in USUAL_DEVICES or imported or (gpu and find_spec("torch")):
        return "torch"
    if find_spec("onnxruntime"):
        return "onnx"
    if find_spec("torch"):
        return "torch"
    raise BadArgument("the networks need ONNX Runtime: pip install onnxruntime")
