"""Handling of models and processors: copies, device maps, hashes, all processors."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import codec

transformers = pytest.importorskip("transformers", reason="cotam[mllm] is not installed")
from codec.integrations.data_url import data_url  # noqa: E402
from codec.integrations.transformers import (  # noqa: E402
    attach,
    detach,
    register,
    unregister,
)
from tests.test_transformers import answer, attached, llava, logits, made_for  # noqa: E402


@pytest.fixture(autouse=True)
def transformers_as_it_was() -> Iterator[None]:
    yield
    unregister()


@pytest.fixture
def ctm(cotam: codec.Codec, photo: NDArray[np.uint8]) -> bytes:
    return cotam.encode(photo, tool="learned", quality=50)


def test_a_shallow_copy_is_the_same_model(cotam: codec.Codec, ctm: bytes, tmp_path: Path) -> None:
    """It shares the modules, so it is attached and detached together with the original."""
    model, processor = attached(cotam, tmp_path)
    inputs = processor(text="<image> what", images=[ctm], return_tensors="pt")
    wanted = logits(model, inputs)
    said = answer(model, inputs)
    other = copy.copy(model)
    assert torch.equal(logits(other, inputs), wanted)
    assert answer(other, inputs) == said
    detach(other)
    pixels = {name: value for name, value in inputs.items() if not name.startswith("cotam")}
    by_pixels = logits(llava()[0], pixels)
    for one in (model, other):
        assert not {"cotam", "generate"} & set(vars(one))
        torch.testing.assert_close(logits(one, pixels), by_pixels)
        assert len(answer(one, pixels)) == 4


MAPS: dict[str, Any] = {
    "cpu": "cpu",
    "parts on disk": {
        "model.vision_tower": "cpu",
        "model.multi_modal_projector": "cpu",
        "model.language_model": "disk",
        "lm_head": "disk",
    },
    "the tower on disk": {
        "model.vision_tower": "disk",
        "model.multi_modal_projector": "cpu",
        "model.language_model": "cpu",
        "lm_head": "cpu",
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("placed", MAPS)
def test_a_model_is_attached_where_device_map_puts_it(
    placed: str, cotam: codec.Codec, ctm: bytes, tmp_path: Path
) -> None:
    """accelerate replaces `forward` and moves weights between devices."""
    pytest.importorskip("accelerate")
    plain, processor = llava()
    adapter = made_for(cotam, plain, tmp_path / "a.safetensors")
    plain.save_pretrained(tmp_path / "model")
    attach(plain, cotam, processor, adapter=adapter)
    inputs = processor(text="<image> what", images=[ctm], return_tensors="pt")
    wanted = logits(plain, inputs)
    said = answer(plain, inputs)
    model = transformers.LlavaForConditionalGeneration.from_pretrained(
        tmp_path / "model", device_map=MAPS[placed], offload_folder=str(tmp_path / "disk")
    ).eval()
    attach(model, cotam, processor, adapter=adapter)
    torch.testing.assert_close(logits(model, inputs), wanted)
    assert answer(model, inputs) == said
    detach(model)
    assert not {"cotam", "generate"} & set(vars(model))


def test_hashes_of_a_processor_stay(
    cotam: codec.Codec, ctm: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`datasets.map` finds its cache by a hash of the function, which includes the processor."""
    datasets = pytest.importorskip("datasets")
    fingerprint = pytest.importorskip("datasets.fingerprint")
    model, processor = llava()
    before = fingerprint.Hasher.hash(processor)
    attach(model, cotam, processor, adapter=made_for(cotam, model, tmp_path / "a.safetensors"))
    assert fingerprint.Hasher.hash(processor) == before
    (tmp_path / "a.ctm").write_bytes(ctm)
    rows = datasets.Dataset.from_dict({"path": [str(tmp_path / "a.ctm")]})

    def prepared(row: Any) -> Any:
        return {"pixels": processor.image_processor([row["path"]])["pixel_values"][0]}

    (row,) = rows.map(prepared)
    wanted = processor.image_processor([codec.decode(ctm)])["pixel_values"][0]
    np.testing.assert_array_equal(np.asarray(row["pixels"], np.float32), np.asarray(wanted))


def test_register_extends_lists_of_suffixes() -> None:
    folder = pytest.importorskip("torchvision.datasets.folder")
    readers = pytest.importorskip("timm.data")
    from codec.integrations import loaders

    before = folder.IMG_EXTENSIONS, readers.get_img_extensions()
    register()
    assert folder.IMG_EXTENSIONS[-1] == readers.get_img_extensions()[-1] == ".ctm"
    unregister()
    assert (folder.IMG_EXTENSIONS, readers.get_img_extensions()) == before
    assert loaders.register()
    register()
    unregister()
    assert folder.IMG_EXTENSIONS[-1] == ".ctm"
    loaders.unregister()


def equal(one: Any, other: Any) -> bool:
    """Whether tensors, numbers, or lists and dictionaries of these are the same."""
    if isinstance(one, Mapping):
        return set(one) == set(other) and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return torch.equal(torch.as_tensor(one), torch.as_tensor(other))


@pytest.mark.slow
def test_every_image_processor_of_a_multimodal_model_takes_a_file(
    small: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is made with its defaults. Those that then fail, even with PNG files, are counted."""
    from transformers.models.auto import image_processing_auto, modeling_auto

    types = modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    backends = image_processing_auto.IMAGE_PROCESSOR_MAPPING_NAMES
    cotam = codec.load("tiny", "cpu")
    path = tmp_path / "a.ctm"
    path.write_bytes(cotam.encode(Image.fromarray(small), tool="av1"))
    picture = codec.decode(path.read_bytes())
    picture.save(tmp_path / "a.png")
    register()
    taken, others = set(), set()
    for model_type in types:
        for name in filter(None, dict(backends.get(model_type, {})).values()):
            if name in taken | others:
                continue
            try:
                processor = getattr(transformers, name)()
                wanted = processor([str(tmp_path / "a.png")], return_tensors="pt")
            except Exception:
                others.add(name)
                continue
            for source in (str(path), path.read_bytes(), data_url(path, "ctm")):
                found = processor([source], return_tensors="pt")
                assert equal(found, wanted), name
            taken.add(name)
    with capsys.disabled():
        print(f"\n{len(taken)} image processors of {len(types)} multimodal models take .ctm files;")
        print(f"not tried: {', '.join(sorted(others)) or 'none'}")
    assert len(taken) > 50
