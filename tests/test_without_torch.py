"""What needs no tower works where PyTorch is not installed: screens through every integration."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import codec
from codec.integrations.data_url import data_url
from tests.conftest import ROOT

# Packages that are PyTorch, or that import it.
LEFT_OUT = (
    "accelerate lightning lightning_fabric nvidia open_clip open_clip_torch pytorch_lightning "
    "pytorch_msssim timm torch torchgen torchmetrics torchvision triton vllm sglang"
).split()
PLAIN = """
import importlib.util, io, os, sys
site, links = os.environ["SITE"], os.environ["LINKS"]
sys.path[:] = [links if os.path.realpath(path) == site else path for path in sys.path]
from pathlib import Path
import numpy as np
from PIL import Image
import codec
assert importlib.util.find_spec("torch") is None
file = Path("screen.ctm").read_bytes()
url = Path("screen.txt").read_text()
wanted = codec.decode(file, output="array")
red = (200, 0, 0)
"""
PROGRAMS = {
    "Pillow": """
from codec.integrations import loaders
loaders.register()
image = Image.open("screen.ctm")
assert image.convert("RGB").getpixel((30, 30)) == red
image.save("again.ctm", tool="palette")
assert Image.open("again.ctm").size == (80, 60)
""",
    "servers": """
from codec.integrations import servers
servers.vllm()
servers.sglang()
assert Image.open(io.BytesIO(file)).convert("RGB").getpixel((30, 30)) == red
""",
    "data URLs": """
from codec.integrations.data_url import data_url
assert data_url("screen.ctm", "png", fit="claude").tokens == 9
assert data_url(file, "ctm") == url
""",
    "Ray": """
from codec.integrations.ray import Decode, Encode
batch = Encode(column="picture", tool="palette")({"picture": wanted[None]})
assert not batch["error"][0]
np.testing.assert_array_equal(Decode()(batch)["image"][0], wanted)
""",
    "WebDataset": """
from codec.integrations.webdataset import ctm
np.testing.assert_array_equal(ctm("array")("0.ctm", file), wanted)
""",
    "datasets": """
import datasets
from codec.integrations import loaders
loaders.register()
rows = datasets.Dataset.from_dict({"image": ["screen.ctm"]})
rows = rows.cast_column("image", datasets.Image())
np.testing.assert_array_equal(np.asarray(rows[0]["image"].convert("RGB")), wanted)
""",
    "gateway": """
from codec.integrations.gateway.app import application
from codec.integrations.gateway.pictures import Converter
from codec.integrations.gateway.settings import Settings
request = {"image_url": {"url": url}}
assert Converter(Settings("http://localhost")).convert(request) == 1
assert request["image_url"]["url"].startswith("data:image/webp")
application(Settings("http://localhost"))
""",
    "transformers": """
import transformers
from codec.integrations.transformers import register, unregister
register()
from transformers.image_utils import load_image
small = {"height": 48, "width": 48}
kinds = [
    transformers.CLIPImageProcessor(size={"shortest_edge": 48}, crop_size=small),
    transformers.Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=112 * 112),
]
for processor in kinds:
    expected = processor([Image.fromarray(wanted)], return_tensors="np")["pixel_values"]
    path = Path("screen.ctm").resolve()
    for source in ("screen.ctm", path, path.as_uri(), file, url):
        found = processor([source], return_tensors="np")["pixel_values"]
        np.testing.assert_array_equal(found, expected)
        assert load_image(source).size == (80, 60)
unregister()
""",
}
PACKAGES = {"datasets": "datasets", "gateway": "starlette", "transformers": "transformers"}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Links to all installed packages but those of LEFT_OUT."""
    folder = tmp_path_factory.mktemp("packages")
    for source in Path(sysconfig.get_paths()["purelib"]).iterdir():
        name = source.name.split("-")[0].split(".")[0]
        if name not in LEFT_OUT and source.suffix != ".pth":
            (folder / source.name).symlink_to(source)
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    screen = np.full((60, 80, 3), 255, np.uint8)
    screen[20:40, 20:60] = (200, 0, 0)
    file = codec.load().encode(Image.fromarray(screen), tool="palette")
    (folder / "screen.ctm").write_bytes(file)
    (folder / "screen.txt").write_text(data_url(file, "ctm"))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_it_works_without_torch(name: str, environment: Path, files: Path) -> None:
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name])
    done = subprocess.run(
        [sys.executable, "-c", PLAIN + PROGRAMS[name]],
        cwd=files,
        env={
            "PYTHONPATH": str(ROOT),
            "PATH": "/usr/bin:/bin",
            "HOME": str(files),
            "SITE": os.path.realpath(sysconfig.get_paths()["purelib"]),
            "LINKS": str(environment),
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
