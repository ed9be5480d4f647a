"""Error messages name arguments in the library, and flags on the command line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import codec
from codec.cli.terminal import FLAGS, with_flags
from tests.conftest import ROOT, run_cotam


def test_a_limit_is_named_as_it_is_set(tmp_path: Path) -> None:
    white = np.full((20, 20, 3), 255, np.uint8)
    Image.fromarray(white).save(tmp_path / "a.png")
    cotam = codec.load()
    cotam.limit_pixels = 100
    with pytest.raises(codec.TooLarge, match="limit_pixels") as caught:
        cotam.encode(tmp_path / "a.png")
    assert "--" not in str(caught.value)
    done = run_cotam("encode", tmp_path / "a.png", "--limit-pixels", 100)
    assert done.returncode == 1
    assert b"--limit-pixels" in done.stderr
    assert b"limit_pixels" not in done.stderr


def test_no_message_of_the_library_names_a_flag_of_the_command() -> None:
    flag = re.compile(r"--(debug|limit|keep|strip|guide|tune|device|quality|target|vqa)[a-z-]*")
    for path in (ROOT / "codec").rglob("*.py"):
        rooms = path.relative_to(ROOT).parts
        # A package's __main__ is a separate command.
        if rooms[1] in ("cli", "export") or path.name == "__main__.py":
            continue
        for line in path.read_text().splitlines():
            if '"' in line and not line.lstrip().startswith(("#", '"""')):
                assert not flag.search(line), f"{path}: {line}"


def test_every_flag_of_a_message_exists() -> None:
    helps = b"".join(
        run_cotam(command, "--help-all").stdout for command in ("encode", "decode", "eval")
    )
    for flag in re.findall(r"--[a-z-]+", " ".join(FLAGS.values())):
        assert flag.encode() in helps, flag
    assert with_flags("nothing to replace") == "nothing to replace"
