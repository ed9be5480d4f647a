"""The code of docs/streams.md runs unchanged: with files, and with Chromium and a tiny model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import codec
from tests.conftest import ROOT, run_cotam
from tests.test_stream import screen

PAGE = (ROOT / "docs" / "streams.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)


def block(language: str, word: str) -> str:
    found = [text for kind, text in BLOCKS if kind == language and word in text]
    assert len(found) == 1, word
    return found[0]


def test_the_python_of_the_page_runs() -> None:
    sent: list[bytes] = []
    names: dict[str, Any] = {
        "screenshots": [screen(), screen(menu=True), screen()],
        "send": sent.append,
        "received": sent,
    }
    exec(block("python", "StreamEncoder(codec.load()"), names)
    assert [codec.inspect(data).tool == "changes" for data in sent] == [False, True, True]
    exec(block("python", "frame.changed_tokens"), names)
    assert np.asarray(names["frame"].picture).shape == (320, 480, 3)


@pytest.mark.slow
def test_the_commands_of_the_page_run(tmp_path: Path) -> None:
    for name, menu in (("shot1", False), ("shot2", True), ("shot3", False)):
        Image.fromarray(screen(menu=menu)).save(tmp_path / f"{name}.png")
    (tmp_path / "frames").mkdir()
    for number, menu in ((9, False), (10, True)):
        Image.fromarray(screen(menu=menu)).save(tmp_path / "frames" / f"{number}.png")
    for line in block("sh", "--after").splitlines():
        program, *arguments = line.split("#")[0].split()
        assert program == "cotam"
        done = run_cotam(*arguments, cwd=tmp_path)
        assert done.returncode == 0, (line, done.stderr)
    assert b"builds on" in done.stdout
    for name in ("shot2", "shot3"):
        assert (tmp_path / f"{name}.ctm").stat().st_size < 3000
    back = np.asarray(Image.open(tmp_path / "back" / "10.png").convert("RGB")).astype(int)
    assert np.abs(back - screen(menu=True)).mean() < 3


HTML = """<!doctype html><title>form</title>
<style>body { font: 16px sans-serif; text-align: center }</style>
<h1>An order</h1><p id=count>0</p><input id=field autofocus>
<button onclick="count.textContent = +count.textContent + 1">More</button>
<div style="height: 3000px; background: linear-gradient(white, silver)"></div>"""


@pytest.mark.slow
def test_the_agent_of_the_page_runs_with_a_browser_and_a_model(tmp_path: Path) -> None:
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    pytest.importorskip("transformers", reason="cotam[mllm] is not installed")
    from tests import families
    from training.data.pages import browser_program

    if browser_program() is None:
        pytest.skip("there is no Chromium on the PATH")
    model, processor = families.llava()
    address = tmp_path / "form.html"
    address.write_text(HTML)
    sizes: list[int] = []
    frames: list[codec.Frame] = []

    def act(page: Any, answer: str, frame: codec.Frame, tokens: Any) -> None:
        """Perform fixed steps, because the answers of a random model are useless."""
        assert isinstance(answer, str)
        frames.append(frame)
        sizes.append(len(tokens))
        step = len(frames)
        if step == 1:
            page.click("button")
        elif step == 2:
            page.keyboard.press("Tab")
            page.fill("#field", "four")
        elif step == 3:
            page.mouse.wheel(0, 200)
            page.wait_for_timeout(200)

    names = {
        "chromium": browser_program(),
        "address": address.as_uri(),
        "model": model,
        "processor": processor,
        "prompt": "<image> what is this",
        "act": act,
        "steps": 5,
    }
    exec(block("python", "playwright"), names)
    assert frames[0].is_key
    assert not any(frame.is_key for frame in frames[1:])
    assert sizes[0] == 36
    assert 0 < sizes[1] < 36
    assert sizes[4] == 0
