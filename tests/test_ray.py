"""Ray Data on a local Ray with two workers: the code of docs/scale.md, run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.errors import BadArgument
from codec.integrations.ray import Decode, Encode
from tests.conftest import ROOT

CODE = re.compile(r"<!-- code:(\w+) -->\n```python\n(.*?)```", re.DOTALL)


def test_batches_without_ray(small: NDArray[np.uint8], cotam: codec.Codec) -> None:
    pictures = np.empty(3, object)
    pictures[:] = [small, small[:40], np.zeros((0, 0, 3), np.uint8)]
    batch = Encode(column="picture", quality=40)({"picture": pictures, "id": np.arange(3)})
    assert batch["ctm"][0] == cotam.encode(small, 40)
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


@pytest.fixture(scope="module")
def local() -> Iterator[Any]:
    ray = pytest.importorskip("ray", reason="cotam[ray] is not installed")
    environment = {"env_vars": {"PYTHONPATH": str(ROOT)}}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=environment, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield ray
    ray.shutdown()


@pytest.mark.slow
def test_the_page_of_scale(local: Any, tmp_path: Path, photo: NDArray[np.uint8], cotam: codec.Codec) -> None:
    blocks = dict(CODE.findall((ROOT / "docs" / "scale.md").read_text()))
    assert list(blocks) == ["encode", "decode"]
    source = tmp_path / "in"
    source.mkdir()
    for number in range(6):
        Image.fromarray(photo[number : number + 60, :90]).save(source / f"{number}.png")
    (source / "broken.png").write_bytes(b"no picture")
    names: dict[str, Any] = {"SOURCE": str(source), "TARGET": str(tmp_path / "out")}
    exec(blocks["encode"], names)
    exec(blocks["decode"], names)
    rows = {os.path.basename(row["path"]): row for row in names["decoded"].take_all()}
    assert len(rows) == 7
    assert rows["broken.png"]["error"]
    for number in range(6):
        row = rows[f"{number}.png"]
        assert row["error"] == ""
        wanted = cotam.decode(cotam.encode(photo[number : number + 60, :90], 40), "array")
        np.testing.assert_array_equal(np.asarray(row["image"]), wanted)
