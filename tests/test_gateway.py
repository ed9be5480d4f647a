"""`cotam serve`: real sockets, the `openai` client, and a small local upstream server."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.errors import BadArgument
from codec.integrations.data_url import data_url
from tests.conftest import ROOT, run_cotam

needed = "cotam[serve] is not installed"
httpx = pytest.importorskip("httpx", reason=needed)
openai = pytest.importorskip("openai", reason="openai is not installed")
pytest.importorskip("starlette", reason=needed)
pytest.importorskip("uvicorn", reason=needed)
from codec.integrations.gateway import pictures  # noqa: E402
from codec.integrations.gateway.answers import Refused  # noqa: E402
from codec.integrations.gateway.app import application  # noqa: E402
from codec.integrations.gateway.forwarding import address  # noqa: E402
from codec.integrations.gateway.pictures import Converter  # noqa: E402
from codec.integrations.gateway.settings import Settings  # noqa: E402
from tests.upstream import DEADLINE, Upstream, served  # noqa: E402

LIMIT = 300_000


@pytest.fixture(scope="module")
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture(scope="module")
def upstream_url(upstream: Upstream) -> Iterator[str]:
    with served(upstream.app()) as url:
        yield url


@pytest.fixture(scope="module")
def gateway(upstream_url: str) -> Iterator[str]:
    limited = Settings(upstream_url, max_request_bytes=LIMIT, limit_pixels=100_000)
    with served(application(limited)) as url:
        yield url


@pytest.fixture(autouse=True)
def as_new(upstream: Upstream) -> None:
    upstream.go_on.clear()
    upstream.left.clear()


@pytest.fixture
def client(gateway: str) -> Iterator[Any]:
    with client_of(gateway) as made:
        yield made


def client_of(gateway: str) -> Any:
    return openai.OpenAI(base_url=f"{gateway}/v1", api_key="a secret", max_retries=0)


@pytest.fixture(scope="module")
def file(small: NDArray[np.uint8]) -> bytes:
    image = Image.fromarray(small)
    exif = Image.Exif()
    exif[0x010E] = "made by somebody"
    image.info["exif"] = exif.tobytes()
    return codec.load("tiny", "cpu").encode(image, tool="learned", quality=60)


@pytest.fixture(scope="module")
def url(file: bytes) -> str:
    return "data:image/x-cotam;base64," + base64.b64encode(file).decode()


def asking(url: str) -> list[Any]:
    parts = [
        {"type": "text", "text": "what is this? äß"},
        {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
    ]
    return [{"role": "user", "content": parts}]


def received(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def test_an_upstream_gets_a_picture_that_it_understands(
    client: Any, upstream: Upstream, file: bytes, url: str
) -> None:
    answer = client.chat.completions.create(model="any", messages=asking(url), temperature=0.5)
    assert answer.choices[0].message.content == "a cat"
    got = upstream.last["messages"]
    sent = got[0]["content"][1]["image_url"]["url"]
    assert sent == data_url(file)
    with received(sent) as image:
        assert image.format == "WEBP"
        assert not image.getexif()
    assert got == asking(sent)
    assert upstream.last["temperature"] == 0.5
    assert upstream.headers[-1]["authorization"] == "Bearer a secret"


def test_the_responses_api_is_understood(client: Any, upstream: Upstream, url: str) -> None:
    content = [{"type": "input_image", "image_url": url, "detail": "auto"}]
    said = client.responses.create(model="any", input=[{"role": "user", "content": content}])
    assert said.output_text == "a cat"
    sent = upstream.last["input"][0]["content"][0]["image_url"]
    assert received(sent).format == "WEBP"


def test_base64_sources_are_understood(gateway: str, upstream: Upstream, file: bytes) -> None:
    """Base64 sources as in Claude's protocol."""
    data = base64.b64encode(file).decode()
    source = {"type": "base64", "media_type": "image/x-cotam", "data": data}
    body = {"messages": [{"content": [{"type": "image", "source": source}]}]}
    answer = httpx.post(f"{gateway}/v1/messages", json=body)
    assert answer.headers["x-cotam-pictures"] == "1"
    sent = upstream.last["messages"][0]["content"][0]["source"]
    assert sent["media_type"] == "image/webp"
    assert f"data:image/webp;base64,{sent['data']}" == data_url(file)


def test_a_request_without_ctm_is_forwarded_byte_for_byte(gateway: str, upstream: Upstream) -> None:
    png = "data:image/png;base64,iVBORw0KGgo="
    for body in (
        b'{ "model":"any", "x": 1e400, "messages" : [{"image_url": {"url": "%s"}}] }'
        % png.encode(),
        b'{"image_url": 7, "source": [], "x": {"image_url": {"url": null}}}',
        b'{"text": "data:image/x-cotam;base64,wFRNAAAA"}',
        b"{ not json",
        b"[" * 5000,
    ):
        headers = {"content-type": "application/json"}
        answer = httpx.post(f"{gateway}/v1/messages", content=body, headers=headers)
        assert "x-cotam-pictures" not in answer.headers
        assert upstream.bodies[-1] == body


@pytest.mark.parametrize("wrong", ["cut", "claims too many pixels", "not base64"])
def test_a_bad_picture_is_a_bad_request(
    wrong: str, client: Any, upstream: Upstream, file: bytes, url: str
) -> None:
    before = len(upstream.bodies)
    if wrong == "claims too many pixels":
        large = codec.load("tiny", "cpu").encode(np.zeros((400, 400, 3), np.uint8))
        url = str(data_url(large, "ctm"))
    bad = {"cut": url[:-40], "not base64": url + "?!"}.get(wrong, url)
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="any", messages=asking(bad))
    assert caught.value.code == "bad_picture"
    assert caught.value.type == "invalid_request_error"
    assert caught.value.param == "messages.0.content.1.image_url.url"
    assert caught.value.message.count("\n") == 0
    assert len(upstream.bodies) == before


def test_answers_are_passed_on_while_they_are_written(
    client: Any, upstream: Upstream, url: str
) -> None:
    stream = client.chat.completions.create(model="any", messages=asking(url), stream=True)
    words = (part.choices[0].delta.content for part in stream)
    assert next(words) == "a "  # the upstream waits for a signal from this test
    assert not upstream.left.is_set()
    upstream.go_on.set()
    assert list(words) == ["cat"]


def test_a_stream_that_breaks_ends_in_an_error(client: Any, upstream: Upstream, url: str) -> None:
    stream = client.chat.completions.create(model="breaks", messages=asking(url), stream=True)
    assert next(stream).choices[0].delta.content == "a "
    upstream.go_on.set()
    with pytest.raises(openai.APIError, match="upstream"):
        list(stream)


def test_the_upstream_stops_when_the_client_goes_away(
    client: Any, upstream: Upstream, url: str
) -> None:
    stream = client.chat.completions.create(model="any", messages=asking(url), stream=True)
    next(stream)
    stream.close()
    assert upstream.left.wait(DEADLINE)


def test_errors_of_the_upstream_are_its_own(gateway: str, client: Any) -> None:
    answer = httpx.post(f"{gateway}/v1/busy", json={})
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "7"
    assert answer.json()["error"]["code"] == "busy"
    with pytest.raises(openai.NotFoundError):
        client.files.list()


@pytest.mark.parametrize("announced", [True, False])
def test_a_request_that_is_too_large_is_refused(
    announced: bool, gateway: str, client: Any, upstream: Upstream
) -> None:
    before = len(upstream.bodies)
    if announced:
        with pytest.raises(openai.APIStatusError) as caught:
            client.chat.completions.create(model="any", messages=asking("x" * (LIMIT + 1)))
        assert (caught.value.status_code, caught.value.code) == (413, "request_too_large")
    else:
        parts = (b"x" * 1000 for _ in range(LIMIT // 1000 + 1))
        answer = httpx.post(f"{gateway}/v1/messages", content=parts)
        assert (answer.status_code, answer.json()["error"]["type"]) == (
            413,
            "invalid_request_error",
        )
    assert len(upstream.bodies) == before


def test_an_upstream_that_is_away_or_slow_is_an_error_of_the_gateway(upstream_url: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with served(application(Settings(nowhere))) as gateway, client_of(gateway) as client:
            with pytest.raises(openai.InternalServerError) as caught:
                client.models.list()
            assert caught.value.status_code == 502
            assert caught.value.code == "upstream_unreachable"
            assert httpx.get(f"{gateway}/health").status_code == 200
    with served(application(Settings(upstream_url, timeout=0.2))) as gateway:
        answer = httpx.get(f"{gateway}/v1/slow")
        assert answer.status_code == 504
        assert answer.json()["error"]["code"] == "upstream_timeout"


def test_health_is_answered_by_the_gateway(gateway: str, upstream_url: str) -> None:
    said = httpx.get(f"{gateway}/health").json()
    assert said == {"status": "ok", "version": codec.__version__, "upstream": upstream_url}


def test_messages_of_one_caller_tell_nothing_to_the_next(gateway: str, upstream: Upstream) -> None:
    """Cookies are forwarded but not stored; connection headers are not forwarded."""
    own = {"connection": "x-mine, close", "x-mine": "1", "te": "trailers", "x-other": "2"}
    first = httpx.get(f"{gateway}/v1/models?limit=2&after=a%2Fb", headers=own)
    assert first.cookies["who"] == "somebody"
    assert first.headers["x-query"] == "limit=2&after=a%2Fb"
    seen = upstream.headers[-1]
    assert seen["x-other"] == "2"
    assert not {"x-mine", "te"} & set(seen)
    httpx.get(f"{gateway}/v1/models", headers={"cookie": "mine=1"})
    assert upstream.headers[-1]["cookie"] == "mine=1"
    httpx.get(f"{gateway}/v1/models")
    assert "cookie" not in upstream.headers[-1]


@pytest.mark.parametrize("accepted", ["gzip", "identity", None])
def test_compressed_answers_go_to_those_who_asked(accepted: str | None, gateway: str) -> None:
    with httpx.Client() as plain:
        del plain.headers["accept-encoding"]
        headers = {} if accepted is None else {"accept-encoding": accepted}
        answer = plain.get(f"{gateway}/v1/models", headers=headers)
    assert answer.headers.get("content-encoding") == ("gzip" if accepted == "gzip" else None)
    assert answer.json()["data"][0]["id"] == "m"


def test_a_compressed_request_is_refused(gateway: str) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = httpx.post(f"{gateway}/v1/messages", content=gzip.compress(b"{}"), headers=headers)
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "compressed_request"


@pytest.mark.parametrize(
    ("base", "path", "query", "wanted"),
    [
        ("http://a:1", "/v1/models", "", "http://a:1/v1/models"),
        ("http://a:1/v1/", "/v1/models", "x=1", "http://a:1/v1/models?x=1"),
        ("http://a:1/v1", "/metrics", "", "http://a:1/v1/metrics"),
        ("http://a:1/team", "/v1/models/a%2Fb", "", "http://a:1/team/v1/models/a%2Fb"),
    ],
)
def test_addresses(base: str, path: str, query: str, wanted: str) -> None:
    assert address(base, path, query) == wanted


@pytest.mark.parametrize("path", ["/v1/../admin", "/v1/%2e%2E/admin", "/v1/..%5cadmin"])
def test_a_path_stays_below_the_upstreams_address(path: str) -> None:
    with pytest.raises(Refused, match=r"\.\."):
        address("http://a:1/team", path, "")


def test_pictures_are_fitted_and_kept(file: bytes, url: str, monkeypatch: Any) -> None:
    """An agent sends the same pictures with every request, so conversions are cached."""
    converter = Converter(Settings("http://a", "jpeg", (40, 40), 4000))
    decoded: list[bytes] = []

    def counted(data: bytes, *arguments: Any, **named: Any) -> str:
        decoded.append(data)
        return data_url(data, *arguments, **named)

    monkeypatch.setattr(pictures, "data_url", counted)
    for _ in range(3):
        request = {"messages": asking(url) + asking(url)}
        assert converter.convert(request) == 2
        sent = request["messages"][1]["content"][1]["image_url"]["url"]
        assert len(sent) <= 4000
        assert received(sent).format == "JPEG"
        assert max(received(sent).size) == 40
    assert len(decoded) == 1
    monkeypatch.setattr(pictures, "KEPT_BYTES", 10)
    converter._keep(b"key", "0123456789")
    assert list(converter._kept) == [b"key"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["image_url", "url", "source", "data", "content"]), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@settings(max_examples=40)
@given(request=JSON)
def test_other_requests_are_left_alone(request: Any) -> None:
    before = json.dumps(request)
    assert Converter(Settings("http://a")).convert(request) == 0
    assert json.dumps(request) == before


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"upstream": "localhost:8000"}, "http://localhost"),
        ({"upstream": "http://me:secret@a"}, "user name"),
        ({"upstream": "http://a?x=1"}, r"\?"),
        ({"format": "ctm"}, "format"),
        ({"fit": "nobody"}, "fit"),
        ({"max_request_bytes": 0}, "max_request_bytes"),
        ({"workers": -1}, "workers"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(BadArgument, match=message):
        Settings(**({"upstream": "http://a"} | wrong))


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from codec.cli.commands.serve import serve

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    done = CliRunner().invoke(serve, ["--upstream", "http://a"])
    assert done.exit_code == 2
    assert re.fullmatch(r"cotam: .*uvicorn.*cotam\[serve\].*\n", done.output)


def test_the_page_of_the_gateway(
    gateway: str,
    upstream: Upstream,
    file: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its client code runs, and its list of options is complete."""
    monkeypatch.chdir(tmp_path)
    Path("photo.ctm").write_bytes(file)
    upstream.go_on.set()
    page = (ROOT / "docs" / "gateway.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.S)
    names = {"key": "a secret", "model_name": "any"}
    exec(block.replace("http://127.0.0.1:8080", gateway), names)
    assert capsys.readouterr().out == "a cat"
    sent = upstream.last["messages"][0]["content"][1]["image_url"]["url"]
    assert received(sent).format == "WEBP"
    options = re.findall(r"--[a-z]+[a-z-]*", run_cotam("serve", "--help").stdout.decode())
    listed = re.findall(r"`(--[a-z-]+)[ `]", page.split("| option |")[1].split("## Errors")[0])
    assert set(listed) == set(options) - {"--help"}


@pytest.mark.slow
def test_bytes_on_the_wire_are_counted(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    from benchmarks.gateway import wire
    from benchmarks.tables import load

    Image.fromarray(photo).save(tmp_path / "a.png")
    found = wire.measure([tmp_path / "a.png"])
    assert set(found) == set(load("wire")["sets"]["kodak"]["bytes"])
    for name, spent in found.items():
        message = json.dumps(wire.message("image/x-cotam", b"x" * int(spent["file"])))
        assert len(message) < spent["to_gateway"] < len(message) + 400
        assert (spent["to_gateway"] == spent["to_upstream"]) == (name != "ctm")
    jpeg = found["jpeg-equal-psnr"]["file"]
    assert found["ctm"]["file"] < jpeg < found["png"]["file"]


@pytest.mark.slow
def test_the_command(upstream: Upstream, upstream_url: str, url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "codec.cli", "serve", "--upstream"]
    wrong = subprocess.run(
        [*command, "nowhere"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert wrong.returncode == 2
    assert re.fullmatch(r"cotam: upstream must be .*\n", wrong.stderr)
    options = [upstream_url, "--port", "0", "--fit", "64x64", "--format", "png"]
    with subprocess.Popen(
        [*command, *options], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = next(line for line in process.stderr if "running on" in line)
        port = re.search(r":(\d+)", said.split("running on")[1])
        assert port is not None
        with client_of(f"http://127.0.0.1:{port[1]}") as client:
            client.chat.completions.create(model="any", messages=asking(url))
        process.terminate()
    with received(upstream.last["messages"][0]["content"][1]["image_url"]["url"]) as image:
        assert (image.format, image.size) == ("PNG", (64, 47))
