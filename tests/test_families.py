"""Every family of docs/mllm.md accepts `.ctm` in all forms; `pytest -v` prints the table."""

from __future__ import annotations

import base64
import importlib
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.errors import BadArgument, BadPicture, CodecError, UnsupportedTower
from codec.networks.adapter import AdapterConfig, TokenAdapter
from codec.tokens.adapters import Adapter
from codec.towers.signature import signature
from tests.conftest import ROOT

transformers = pytest.importorskip("transformers", reason="cotam[mllm] is not installed")
from codec.integrations.transformers import (  # noqa: E402
    attach,
    detach,
    register,
    unregister,
)
from codec.integrations.transformers.vision import tower_of  # noqa: E402
from tests.families import FAMILIES, WIDTH, Family  # noqa: E402

Wanted = Callable[[Callable[..., Any], Family], Any]
RUNNING = [family for family in FAMILIES if family.runs]
families = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
# Forms in which a user can pass a picture. Each makes a source from the file's path and URL.
SOURCES: dict[str, Callable[[Path, str], Any]] = {
    "path": lambda path, url: str(path),
    "pathlib": lambda path, url: path,
    "no suffix": lambda path, url: str(path.with_suffix("")),
    "bytes": lambda path, url: path.read_bytes(),
    "http": lambda path, url: url,
    "data URL": lambda path, url: "data:image/x-cotam;base64," + encoded(path),
    "data URL of octets": lambda path, url: "data:application/octet-stream;base64," + encoded(path),
    "base64": lambda path, url: encoded(path),
    "file URL": lambda path, url: path.as_uri(),
    "lazy picture": lambda path, url: Image.open(path),
}
CHAT_KEYS = {
    "path": "path",
    "no suffix": "path",
    "http": "url",
    "data URL": "url",
    "file URL": "url",
    "bytes": "image",
    "base64": "base64",
}


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


@cache
def made(family: Family) -> tuple[Any, Any]:
    return family.make()


@pytest.fixture(scope="module")
def cotam() -> codec.Codec:
    return codec.load("tiny", "cpu")


@pytest.fixture(scope="module")
def path(
    cotam: codec.Codec, photo: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A file that is decoded in a millisecond; integrations treat those of all tools alike."""
    path = tmp_path_factory.mktemp("files with spaces") / "a cät.ctm"
    path.write_bytes(cotam.encode(reduced(photo), quality=60, tool="av1"))
    shutil.copy(path, path.with_suffix(""))
    return path


@pytest.fixture(scope="module")
def learned(path: Path, cotam: codec.Codec, photo: NDArray[np.uint8]) -> Path:
    """A file of the learned tool, whose latents a model with an adapter could read."""
    learned = path.with_name("photo.ctm")
    learned.write_bytes(cotam.encode(reduced(photo), quality=60, tool="learned"))
    return learned


def reduced(photo: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(photo).resize((90, 60))


@pytest.fixture(scope="module")
def url(path: Path, photo: NDArray[np.uint8]) -> Iterator[str]:
    """URL of the file on a local web server; the path `/ordinary` is a PNG."""
    png = path.with_suffix(".png")
    Image.fromarray(photo).resize((90, 60)).save(png)

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write((png if self.path == "/ordinary" else path).read_bytes())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/picture?id=7"
    server.shutdown()


@pytest.fixture(scope="module")
def picture(path: Path) -> Image.Image:
    image: Image.Image = codec.decode(path.read_bytes()).convert("RGB")
    return image


@pytest.fixture(scope="module")
def wanted_of(picture: Image.Image) -> Wanted:
    """What a function of a family makes of the decoded picture; computed once."""

    @cache
    def wanted(make: Callable[..., Any], family: Family) -> Any:
        part = picture if make is prepared else {"type": "image", "image": picture}
        return make(family, part)

    return wanted


@pytest.fixture(autouse=True)
def transformers_as_it_was() -> Iterator[None]:
    """Undo whatever a test registers or attaches."""
    yield
    unregister()


@pytest.fixture
def registered() -> None:
    register()


def prepared(family: Family, source: Any) -> Any:
    text = f"{family.placeholder} what is"
    return made(family)[1](text=text, images=[source], return_tensors="pt")


def chat(family: Family, part: dict[str, Any]) -> Any:
    content = [part, {"type": "text", "text": "what is"}]
    return made(family)[1].apply_chat_template(
        [{"role": "user", "content": content}],
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )


def same(found: Any, wanted: Any) -> bool:
    return set(found) == set(wanted) and all(
        torch.equal(found[name], value) for name, value in wanted.items()
    )


def assert_same(found: Any, wanted: Any) -> None:
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name


@pytest.mark.slow
@families
@pytest.mark.parametrize("way", SOURCES)
def test_a_processor_takes_a_file(
    family: Family, way: str, path: Path, url: str, wanted_of: Wanted, registered: None
) -> None:
    assert_same(prepared(family, SOURCES[way](path, url)), wanted_of(prepared, family))


@pytest.mark.slow
@families
@pytest.mark.parametrize("way", CHAT_KEYS)
def test_a_chat_template_takes_a_file(
    family: Family, way: str, path: Path, url: str, wanted_of: Wanted, registered: None
) -> None:
    part = {"type": "image", CHAT_KEYS[way]: SOURCES[way](path, url)}
    assert_same(chat(family, part), wanted_of(chat, family))


@pytest.mark.slow
@pytest.mark.parametrize("family", RUNNING, ids=lambda family: family.name)
def test_a_pipeline_takes_a_file(
    family: Family, path: Path, url: str, picture: Image.Image, registered: None
) -> None:
    model, processor = made(family)
    pipe = transformers.pipeline("image-text-to-text", model=model, processor=processor)
    text = f"{family.placeholder} what is"
    options = {"max_new_tokens": 2, "do_sample": False}
    wanted = pipe(images=picture, text=text, generate_kwargs=options)
    for way in ("path", "http", "base64", "file URL"):
        source = SOURCES[way](path, url)
        assert pipe(images=source, text=text, generate_kwargs=options) == wanted
    messages = [
        {
            "role": "user",
            "content": [
                {"type": "image", "image": str(path)},
                {"type": "text", "text": "what is"},
            ],
        }
    ]
    said = pipe(text=messages, generate_kwargs=options)[0]["generated_text"]
    assert said[-1]["role"] == "assistant"


@pytest.mark.slow
@families
def test_several_files_and_ordinary_pictures_stand_in_one_prompt(
    family: Family, path: Path, picture: Image.Image, registered: None
) -> None:
    _, processor = made(family)
    other = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    text = f"{family.placeholder} what {family.placeholder} is"

    def given(*images: Any) -> Any:
        return processor(text=[text], images=[list(images)], return_tensors="pt")

    assert_same(given(path, other), given(picture, other))


@pytest.mark.slow
@families
def test_attach_goes_by_pixels_and_detach_undoes_it(
    family: Family, learned: Path, cotam: codec.Codec
) -> None:
    model, processor = made(family)
    plain = prepared(family, codec.decode(learned.read_bytes()))

    def said() -> Any:
        options = {"max_new_tokens": 2, "min_new_tokens": 2, "do_sample": False}
        return model.generate(**plain, **options) if family.runs else torch.zeros(1)

    wanted = said()
    keys = set(vars(model))
    attach(model, cotam, processor)
    inputs = prepared(family, learned)
    assert_same(inputs, plain)
    assert torch.equal(said(), wanted)
    detach(model)
    assert set(vars(model)) == keys
    assert torch.equal(said(), wanted)
    assert_same(prepared(family, learned), plain)
    unregister()
    with pytest.raises((CodecError, TypeError, ValueError, RuntimeError)):
        prepared(family, learned.read_bytes())


@pytest.mark.slow
def test_the_table_of_families_and_ways(
    path: Path,
    url: str,
    picture: Image.Image,
    registered: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Prints the table; `SOURCES` and `CHAT_KEYS` are the ways."""
    ways = [*SOURCES, *(f"chat: {way}" for way in CHAT_KEYS)]
    rows = []
    for family in FAMILIES:
        inputs = prepared(family, picture)
        talk = chat(family, {"type": "image", "image": picture})
        cells = {}
        for way, source in SOURCES.items():
            cells[way] = same(prepared(family, source(path, url)), inputs)
        for way, key in CHAT_KEYS.items():
            part = {"type": "image", key: SOURCES[way](path, url)}
            cells[f"chat: {way}"] = same(chat(family, part), talk)
        rows.append((family.name, [cells[way] for way in ways]))
    with capsys.disabled():
        print(f"\n{'family':20}" + "".join(f"{way:>20}" for way in ways))
        for name, found in rows:
            print(f"{name:20}" + "".join(f"{'ok' if one else 'FAILS':>20}" for one in found))
    assert all(all(found) for _, found in rows)


def adapter_for(model: Any, cotam: codec.Codec) -> Adapter:
    """An adapter with random weights for a model's tower."""
    tower = tower_of(model)
    assert tower is not None
    prefix = int(
        any("class" in name or "cls" in name for name, _ in tower.module.named_parameters())
    )
    channels = cotam.learned.pipeline.layers[-1].stop
    torch.manual_seed(0)
    network = TokenAdapter(AdapterConfig(channels, WIDTH, *tower.grid, prefix, inner=48))
    torch.nn.init.normal_(network.head.weight, std=0.5)
    networks = {0: network.eval().requires_grad_(False)}
    return Adapter(networks, cotam.fingerprint, "tiny", signature(tower.module), {})


@pytest.mark.slow
@pytest.mark.parametrize(
    "family", [family for family in FAMILIES if family.latents], ids=lambda family: family.name
)
def test_tokens_come_from_latents(
    family: Family, learned: Path, cotam: codec.Codec, registered: None
) -> None:
    model, processor = made(family)
    by_pixels = prepared(family, learned)
    with torch.no_grad():
        wanted = model(**by_pixels).logits
        adapter = adapter_for(model, cotam)
        attach(model, cotam, processor, adapter=adapter)
        inputs = prepared(family, learned)
        assert "cotam_latents" in inputs
        repaired = model(**inputs).logits
        assert (repaired - wanted).abs().max() > 1e-3
        torch.testing.assert_close(model(**by_pixels).logits, wanted)
        torch.nn.init.zeros_(adapter.networks[0].head.weight)
        torch.testing.assert_close(model(**inputs).logits, wanted)
    detach(model)


def test_views_of_several_pictures_in_a_prompt_keep_their_latents(
    learned: Path, picture: Image.Image, cotam: codec.Codec
) -> None:
    """Idefics3 concatenates the views of all pictures of a prompt."""
    model, processor = made(next(family for family in FAMILIES if family.name == "Idefics3"))
    attach(model, cotam, processor, adapter=adapter_for(model, cotam))
    wide = cotam.encode(picture.crop((0, 0, 90, 30)), tool="learned")

    def latents(*prompts: list[Any]) -> list[torch.Tensor]:
        texts = [" ".join(["<image>"] * len(images)) + " what" for images in prompts]
        given = processor(text=texts, images=list(prompts), return_tensors="pt", padding=True)
        with torch.no_grad():
            model(**given)
        pairs = zip(given["cotam_latents"], given["cotam_views"].tolist())
        return [values[:count] for values, count in pairs]

    alone = {"file": latents([learned])[0], "wide": latents([wide])[0]}
    assert len(alone["file"]) != len(alone["wide"])
    for prompts, names in (
        (([learned, wide],), ("file", "wide")),
        (([wide, picture, learned], [learned]), ("wide", "", "file", "file")),
        (([picture], [wide]), ("", "wide")),
    ):
        for found, name in zip(latents(*prompts), names):
            if name:
                assert torch.equal(found, alone[name])
            else:
                assert found.isnan().all()
    with pytest.raises(BadArgument, match="which views"):
        latents([learned, picture, picture])
    detach(model)


@pytest.mark.parametrize(
    "family", [family for family in FAMILIES if not family.latents], ids=lambda family: family.name
)
def test_an_adapter_is_refused_where_the_tower_takes_none(
    family: Family, cotam: codec.Codec
) -> None:
    model, processor = made(family)
    other, _ = made(FAMILIES[0])
    keys = set(vars(model))
    with pytest.raises((UnsupportedTower, CodecError)):
        attach(model, cotam, processor, adapter=adapter_for(other, cotam))
    assert set(vars(model)) == keys


@families
def test_a_budget_is_served_or_refused_when_attached(family: Family, cotam: codec.Codec) -> None:
    model, processor = made(family)
    keys = set(vars(model))
    if family.budget:
        attach(model, cotam, processor, token_budget=0.5)
        detach(model)
    else:
        with pytest.raises(BadArgument, match="token_budget"):
            attach(model, cotam, processor, token_budget=0.5)
    assert set(vars(model)) == keys


def test_the_page_lists_the_families() -> None:
    page = (ROOT / "docs" / "mllm.md").read_text()
    rows = re.search(r"<!-- table:families -->\n(.*?)<!-- /table -->", page, re.DOTALL)
    assert rows is not None
    cells = [
        [cell.strip() for cell in row.strip("|").split("|")]
        for row in rows[1].splitlines()[2:]
        if row.startswith("|")
    ]
    stated = [(name, pixels, latents[:3], budget[:3]) for name, pixels, latents, budget in cells]
    answers = {True: "yes", False: "no:"}
    assert stated == [
        (family.name, "yes", answers[family.latents], answers[family.budget]) for family in FAMILIES
    ]


def test_loaders_take_files_until_they_are_unregistered(
    path: Path, url: str, picture: Image.Image
) -> None:
    """Registering twice or from several threads has no further effect, and one call undoes it."""
    from transformers import image_utils
    from transformers.image_utils import load_image as imported_before

    originals = [image_utils.load_image, image_utils.load_image_as_tensor]
    threads = [threading.Thread(target=register) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wanted = np.asarray(picture)
    for way in SOURCES:
        source = SOURCES[way](path, url)
        np.testing.assert_array_equal(np.asarray(image_utils.load_image(source)), wanted)
        if way != "lazy picture":
            tensor = image_utils.load_image_as_tensor(source)
            assert tensor.dtype == torch.uint8
            np.testing.assert_array_equal(tensor.permute(1, 2, 0).numpy(), wanted)
    assert image_utils.load_image(str(path)).mode == "RGB"
    pipelines = importlib.import_module("transformers.pipelines.image_classification")
    assert pipelines.load_image is image_utils.load_image
    unregister()
    unregister()
    assert [image_utils.load_image, image_utils.load_image_as_tensor] == originals
    assert pipelines.load_image is originals[0]
    assert imported_before is originals[0]
    with pytest.raises(ValueError, match="Incorrect image source"):
        image_utils.load_image(path.as_uri())


@pytest.mark.slow
@families
def test_ordinary_pictures_are_loaded_as_before(
    family: Family, path: Path, url: str, registered: None
) -> None:
    png = path.with_suffix(".png")
    address = url.replace("/picture?id=7", "/ordinary")
    unregister()
    wanted = prepared(family, str(png))
    register()
    data = base64.b64encode(png.read_bytes()).decode()
    for source in (str(png), png, png.as_uri(), address, data, f"data:image/png;base64,{data}"):
        assert_same(prepared(family, source), wanted)


def test_damaged_files_are_refused_in_a_sentence(path: Path, registered: None) -> None:
    _, processor = made(FAMILIES[0])
    data = path.read_bytes()
    text = encoded(path)
    for source in (data[:-4], data[:3], text[:-9], "data:image/x-cotam;base64," + text[:40]):
        with pytest.raises(CodecError):
            processor.image_processor([source], return_tensors="pt")
    with pytest.raises(BadPicture, match="base64"):
        processor.image_processor([text + "!?"], return_tensors="pt")
    with pytest.raises((TypeError, ValueError)):
        processor.image_processor([b"no picture"], return_tensors="pt")
