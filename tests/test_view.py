"""`cotam view`: its server, and its page in a real Chromium on a phone."""

from __future__ import annotations

import http.client
import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import urlopen

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.errors import BadArgument
from codec.view.files import shown_files
from codec.view.server import Server, Site
from tests.browser import chromium, runtime
from tests.conftest import ROOT, run_cotam

PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, photo: NDArray[np.uint8]) -> Path:
    """coded/ with a drawing, a photograph and a bad file; originals/ of the first two."""
    place = tmp_path_factory.mktemp("view")
    (place / "coded" / "deep").mkdir(parents=True)
    (place / "originals").mkdir()
    drawing = np.full((80, 120, 3), 255, np.uint8)
    drawing[20:60, 30:90] = (200, 30, 30)
    tiny = codec.load("tiny")
    Image.fromarray(photo).save(place / "originals" / "photo.webp", lossless=True)
    Image.fromarray(drawing).save(place / "originals" / "drawing.png")
    files = {
        "a bad one.ctm": b"no picture",
        "deep/drawing.ctm": tiny.encode(drawing, lossless=True),
        "photo.ctm": tiny.encode(photo, tool="learned", quality=20),
    }
    for name, data in files.items():
        (place / "coded" / name).write_bytes(data)
    return place


@contextmanager
def viewing(folder: Path, runtime_folder: Path | None = None) -> Iterator[Server]:
    site = Site(shown_files(folder / "coded", folder / "originals"), runtime_folder)
    server = Server(site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        site.close()


def asked(server: Server, path: str, host: str | None = None) -> tuple[int, bytes]:
    """Status and body of a request whose path is sent without changes."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def test_files_find_their_originals(folder: Path) -> None:
    found = shown_files(folder / "coded", folder / "originals")
    assert [(one.name, one.original and one.original.name) for one in found] == [
        ("a bad one.ctm", None),
        ("deep/drawing.ctm", "drawing.png"),
        ("photo.ctm", "photo.webp"),
    ]
    path = folder / "coded" / "photo.ctm"
    for original in (folder / "originals", folder / "originals" / "photo.webp"):
        (one,) = shown_files(path, original)
        assert one.original == folder / "originals" / "photo.webp"
    for place, original in (
        (folder / "originals", None),
        (folder / "nothing", None),
        (folder / "coded", path),
    ):
        with pytest.raises(BadArgument):
            shown_files(place, original)


def test_the_server_has_what_the_page_needs(folder: Path, photo: NDArray[np.uint8]) -> None:
    with viewing(folder) as server:
        names = json.loads(asked(server, "/files.json")[1])
        assert [one["name"] for one in names["files"]][2] == "photo.ctm"
        assert names["runtime"] is False
        data = (folder / "coded" / "photo.ctm").read_bytes()
        assert asked(server, "/file/2") == (200, data)
        with Image.open(io.BytesIO(asked(server, "/original/2")[1])) as original:
            assert np.array_equal(np.asarray(original), photo)
        facts = json.loads(asked(server, "/decoded/2")[1])
        assert (facts["tool"], facts["model"]) == ("learned", "tiny")
        assert len(facts["bits"]) == len(facts["qp"]) == facts["rows"] * facts["cols"]
        with Image.open(io.BytesIO(asked(server, "/pixels/2")[1])) as pixels:
            assert np.array_equal(np.asarray(pixels), np.asarray(codec.decode(data)))
        status, text = asked(server, "/decoded/0")
        assert (status, text) == (422, b"this is not a CoTAM file")
        status, text = asked(server, "/models/4030fbf7/model.json")
        assert json.loads(text)["name"] == "tiny"
        for path in ("/", "/cotam.js", "/view.js", "/parts/style.css", "/module/worker.js"):
            assert asked(server, path)[0] == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        "/../setup.cfg",
        "//etc/passwd",
        "/module/../../../setup.cfg",
        "/module/%2e%2e/%2e%2e/setup.cfg",
        "/file/3",
        "/file/-1",
        "/file/../0",
        "/file/" + "9" * 5000,
        "/models/../../setup.cfg",
        "/models/00000000/model.json",
        "/models/4030fbf7/../../../etc/passwd",
        "/runtime/ort.wasm.min.mjs",
        "/originals/photo.webp",
        "/index.html/",
    ],
)
def test_nothing_else_is_served(folder: Path, path: str) -> None:
    with viewing(folder) as server:
        assert asked(server, path)[0] == 404


def test_pages_of_other_hosts_get_nothing(folder: Path) -> None:
    """Requests with a foreign host name that resolves to this machine are refused."""
    with viewing(folder) as server:
        assert asked(server, "/file/2", "evil.example:80")[0] == 403
        assert asked(server, "/file/2", f"localhost:{server.server_port}")[0] == 200
        assert server.server_address[0] == "127.0.0.1"


@pytest.mark.slow
def test_the_command_prints_its_address(folder: Path) -> None:
    command = [sys.executable, "-m", "codec.cli", "view", str(folder / "coded"), "--no-browser"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("3 files at http://127.0.0.1:")
        with urlopen(line.split()[3], timeout=60) as answer:
            assert b"cotam view" in answer.read()
    finally:
        process.kill()
        process.wait()
    assert run_cotam("view", folder / "nothing", "--no-browser").returncode == 1


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@contextmanager
def phone(browser: Any, server: Server) -> Iterator[Any]:
    """The page at a phone's size. A script error or a request to another host fails the test."""
    context = browser.new_context(viewport=PHONE)
    page = context.new_page()
    page.set_default_timeout(120000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))

    def check(request: Any) -> None:
        if urlparse(request.url).hostname not in ("127.0.0.1", None):
            wrong.append(request.url)

    context.on("request", check)
    page.goto(server.address)
    yield page
    context.close()
    assert wrong == []


@pytest.mark.slow
def test_the_page_without_networks_in_the_browser(browser: Any, folder: Path) -> None:
    with viewing(folder) as server, phone(browser, server) as page:
        page.locator(".wrong").wait_for()
        assert page.locator(".wrong").inner_text() == "a bad one.ctm: this is not a CoTAM file"
        page.keyboard.press("n")
        page.locator("dd", has_text="deep/drawing.ctm").wait_for()
        page.keyboard.press("n")
        page.locator("dd", has_text="photo.ctm").wait_for()
        assert "tiny 4030fbf7" in page.locator(".facts").inner_text()
        assert page.title() == "photo.ctm - cotam view"
        page.keyboard.press("p")
        page.locator("dd", has_text="deep/drawing.ctm").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.slow
def test_the_page_compares_with_the_original(browser: Any, folder: Path, tmp_path: Path) -> None:
    with viewing(folder, runtime()) as server, phone(browser, server) as page:
        page.select_option("#file", "2")
        page.locator("dd", has_text="photo.ctm").wait_for()
        assert page.evaluate("crossOriginIsolated")
        page.locator(".sheet > img").evaluate("image => image.decode()")

        def seen(percent: int) -> NDArray[np.int64]:
            page.locator("#split").fill(str(percent))
            page.locator(".sheet").screenshot(path=str(tmp_path / "seen.png"))
            return np.asarray(Image.open(tmp_path / "seen.png").convert("RGB")).astype(int)

        original, both, coded = (seen(percent) for percent in (100, 50, 0))
        half = both.shape[1] // 2
        assert np.abs(both - original)[:, : half - 20].mean() < 0.5
        assert np.abs(both - coded)[:, half + 20 :].mean() < 0.5
        assert np.abs(original - coded)[:, : half - 20].mean() > 1
        page.locator("#split").focus()
        page.keyboard.press("ArrowRight")
        assert page.locator("#split").input_value() == "1"
        for layer in ("qp", "bits", "tokens"):
            page.select_option("#layer", layer)
            assert page.locator(".layer").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
