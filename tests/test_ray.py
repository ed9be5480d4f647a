"""Ray Data on a local Ray with two workers: the code of docs/scale.md, run."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.errors import BadArgument
from codec.integrations.ray import Decode, Encode
from tests.conftest import ROOT

CODE = re.compile(r"<!-- code:(\w+) -->\n```python\n(.*?)```", re.DOTALL)


@pytest.mark.slow
def test_batches_without_ray(small: NDArray[np.uint8], cotam: codec.Codec) -> None:
    pictures = np.empty(3, object)
    pictures[:] = [small, small[:40], np.zeros((0, 0, 3), np.uint8)]
    threads = torch.get_num_threads()
    encode = pickle.loads(pickle.dumps(Encode(column="picture", quality=40, threads=threads + 1)))
    batch = encode({"picture": pictures, "id": np.arange(3)})
    assert torch.get_num_threads() == threads
    assert batch["ctm"][0] == cotam.encode(small, tool="learned", quality=40)
    assert batch["ctm"][2] == b""
    assert [bool(error) for error in batch["error"]] == [False, False, True]
    back = Decode()(batch)
    assert "ctm" not in back
    assert [image.shape for image in back["image"]] == [(96, 130, 3), (40, 130, 3), (0, 0, 3)]
    assert Decode(level="preview", keep=True)(batch)["image"][0].shape == (12, 17, 3)
    with pytest.raises(BadArgument, match="no column"):
        Decode(column="none")(batch)
    with pytest.raises(BadArgument, match="level"):
        Decode(level="latents")


PROGRAM = """
import json, os, sys
import ray
ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
context = ray.data.DataContext.get_current()
context.enable_progress_bars = False
context.read_op_min_num_blocks = 2
names = {"SOURCE": sys.argv[1], "TARGET": sys.argv[2]}
for block in json.loads(sys.argv[3]):
    exec(block, names)
rows = names["decoded"].take_all()
import numpy as np
found = {os.path.basename(r["path"]): [r["error"], np.asarray(r["image"]).tolist()] for r in rows}
open(sys.argv[4], "w").write(json.dumps(found))
"""


@pytest.mark.slow
def test_the_page_of_scale(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    """Runs in a separate process, so that a cluster that does not start cannot block the tests."""
    pytest.importorskip("ray", reason="cotam[ray] is not installed")
    blocks = dict(CODE.findall((ROOT / "docs" / "scale.md").read_text()))
    assert list(blocks) == ["encode", "decode"]
    source = tmp_path / "in"
    source.mkdir()
    for number in range(6):
        Image.fromarray(photo[number : number + 60, :90]).save(source / f"{number}.png")
    (source / "broken.png").write_bytes(b"no picture")
    arguments = [
        str(source),
        str(tmp_path / "out"),
        json.dumps(list(blocks.values())),
        str(tmp_path / "found.json"),
    ]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "COTAM_BACKEND": "onnx",
        # Instead of 32 processes, which took half of the time of this test.
        "RAY_DATA_PARQUET_FOOTER_NUM_ACTORS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads((tmp_path / "found.json").read_text())
    assert len(rows) == 7
    cotam = codec.load(backend="onnx")
    assert rows["broken.png"][0]
    for number in range(6):
        error, image = rows[f"{number}.png"]
        assert error == ""
        wanted = cotam.decode(
            cotam.encode(photo[number : number + 60, :90], tool="learned", quality=40),
            output="array",
        )
        np.testing.assert_array_equal(np.array(image, np.uint8), wanted)
