"""What servers of models call in each of their processes; their entry points are in setup.cfg.

::

    vLLM:   vllm.general_plugins --> vllm()   -> Pillow's plugin, and vLLM's list of formats
    SGLang: sglang.srt.plugins ----> sglang() -> Pillow's plugin

Both may be called more than once. No PyTorch.
"""

from __future__ import annotations

from codec.integrations import pillow
from codec.integrations.pillow import FORMAT


def vllm() -> None:
    """Let vLLM take `.ctm` by http, file and data URL.

    vLLM 0.33 opens only the formats of a list, which leaves out those that start other programs.
    `.ctm` is decoded in the process.
    """
    pillow.register()
    try:
        from vllm.multimodal import image
    except ImportError:
        # Earlier versions have no such module, and no list.
        return
    allowed = getattr(image, "ALLOWED_IMAGE_FORMATS", None)
    if allowed is not None and FORMAT not in allowed:
        image.ALLOWED_IMAGE_FORMATS = (*allowed, FORMAT)


def sglang() -> None:
    """Let SGLang take `.ctm` by http, file and data URL."""
    pillow.register()
