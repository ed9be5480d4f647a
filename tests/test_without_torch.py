"""Everything that needs no tower works without PyTorch, for screenshots and photographs."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.integrations.data_url import data_url
from tests.conftest import ROOT

# PyTorch and packages that import it.
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
name = os.environ["FILE"]
file = Path(name).read_bytes()
url = Path(f"{name}.url").read_text()
expected = np.load(f"{name}.npy")
wanted = codec.decode(file, output="array")
# Transforms of the learned tool round otherwise than PyTorch's.
assert np.abs(wanted.astype(int) - expected).max() <= 2
"""
PROGRAMS = {
    "Pillow": """
from codec.integrations import loaders
loaders.register()
image = Image.open(name)
np.testing.assert_array_equal(np.asarray(image), wanted)
stream = io.BytesIO()
image.save(stream, "CTM", quality=40, model="tiny")
assert Image.open(stream).size == (80, 60)
""",
    "servers": """
from codec.integrations import servers
servers.vllm()
servers.sglang()
np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(file))), wanted)
""",
    "data URLs": """
from codec.integrations.data_url import data_url
assert data_url(name, "png", fit="claude").tokens == 9
assert data_url(file, "ctm") == url
""",
    "Ray": """
from codec.integrations.ray import Decode, Encode
batch = Encode(column="picture", lossless=True)({"picture": wanted[None]})
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
rows = datasets.Dataset.from_dict({"image": [name]})
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
    pixels = processor([Image.fromarray(wanted)], return_tensors="np")["pixel_values"]
    path = Path(name).resolve()
    for source in (name, path, path.as_uri(), file, url):
        found = processor([source], return_tensors="np")["pixel_values"]
        np.testing.assert_array_equal(found, pixels)
        assert load_image(source).size == (80, 60)
unregister()
""",
}
PACKAGES = {"datasets": "datasets", "gateway": "starlette", "transformers": "transformers"}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with links to all installed packages except those in LEFT_OUT."""
    folder = tmp_path_factory.mktemp("packages")
    for source in Path(sysconfig.get_paths()["purelib"]).iterdir():
        name = source.name.split("-")[0].split(".")[0]
        if name not in LEFT_OUT and source.suffix != ".pth":
            (folder / source.name).symlink_to(source)
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, photo: NDArray[np.uint8]) -> Path:
    folder = tmp_path_factory.mktemp("files")
    screen = np.full((60, 80, 3), 255, np.uint8)
    screen[20:40, 20:60] = (200, 0, 0)
    photograph = np.asarray(Image.fromarray(photo).resize((80, 60)))
    files = {
        "screen.ctm": codec.load().encode(screen, tool="palette"),
        "photo.ctm": codec.load("tiny").encode(photograph, tool="learned"),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
        (folder / f"{name}.url").write_text(data_url(data, "ctm"))
        np.save(folder / f"{name}.npy", codec.decode(data, output="array"))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("file", ["screen.ctm", "photo.ctm"])
def test_it_works_without_torch(file: str, name: str, environment: Path, files: Path) -> None:
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
            "FILE": file,
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
