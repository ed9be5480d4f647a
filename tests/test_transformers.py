"""`.ctm` in the classes of transformers, with tiny random models."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.errors import BadArgument, NotACotamFile, WrongAdapter
from codec.integrations.transformers.crop_boxes import views_of
from codec.networks.adapter import AdapterConfig, TokenAdapter
from codec.tokens.adapters import Adapter, load_adapter, save_adapter
from codec.towers import LAST
from codec.towers.signature import signature

transformers = pytest.importorskip("transformers", reason="cotam[mllm] is not installed")
from codec.integrations.transformers.budget import shorten  # noqa: E402
from codec.tokens.selection import quadtree  # noqa: E402

integration = pytest.importorskip("codec.integrations.transformers")

SIDE, PATCH, WIDTH = 48, 8, 32
WORDS = {"<pad>": 0, "<image>": 1, "what": 2, "is": 3, "this": 4, "<unk>": 5}


def text_config() -> Any:
    return transformers.LlamaConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        pad_token_id=0,
    )


def vision_config() -> Any:
    return transformers.CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=PATCH,
    )


def tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = Tokenizer(models.WordLevel(WORDS, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
    )


def llava() -> tuple[Any, Any]:
    torch.manual_seed(0)
    config = transformers.LlavaConfig(
        vision_config=vision_config(),
        text_config=text_config(),
        image_token_id=1,
        vision_feature_layer=-2,
    )
    images = transformers.CLIPImageProcessor(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    processor = transformers.LlavaProcessor(
        images,
        tokenizer(),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    return transformers.LlavaForConditionalGeneration(config).eval(), processor


def llava_next() -> tuple[Any, Any]:
    torch.manual_seed(0)
    pinpoints = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
    config = transformers.LlavaNextConfig(
        vision_config=vision_config(),
        text_config=text_config(),
        image_token_id=1,
        vision_feature_layer=-2,
        image_grid_pinpoints=pinpoints,
    )
    sizes = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    images = transformers.LlavaNextImageProcessor(image_grid_pinpoints=pinpoints, **sizes)
    processor = transformers.LlavaNextProcessor(
        images,
        tokenizer(),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    return transformers.LlavaNextForConditionalGeneration(config).eval(), processor


def made_for(cotam: codec.Codec, model: Any, path: Path, later: Sequence[int] = ()) -> Adapter:
    """An adapter with random weights for a model's tower, saved and loaded."""
    config = AdapterConfig(
        cotam.learned.pipeline.layers[-1].stop, WIDTH, SIDE // PATCH, SIDE // PATCH, 1, inner=48
    )
    networks = {layer: TokenAdapter(config) for layer in (0, *later)}
    for network in networks.values():
        torch.nn.init.normal_(network.head.weight, std=0.1)
    own = signature(model.model.vision_tower)
    save_adapter(path, networks, {"codec": cotam.fingerprint, "tower": "tiny", "signature": own})
    return load_adapter(path)


@pytest.fixture(autouse=True)
def transformers_as_it_was() -> Iterator[None]:
    """Undo whatever a test attaches."""
    yield
    integration.unregister()


@pytest.fixture
def ctm(cotam: codec.Codec, photo: NDArray[np.uint8]) -> bytes:
    return cotam.encode(photo, tool="learned", quality=50)


def answer(model: Any, inputs: Any) -> list[int]:
    return model.generate(**inputs, max_new_tokens=4, do_sample=False)[0, -4:].tolist()


def logits(model: Any, inputs: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(**inputs).logits


@pytest.mark.slow
@pytest.mark.parametrize("make", [llava, llava_next])
def test_ctm_goes_wherever_a_picture_goes(
    make: Any, cotam: codec.Codec, ctm: bytes, tmp_path: Path
) -> None:
    """Without an adapter, bytes, path and decoded picture give the same answer."""
    model, processor = make()
    decoded = cotam.decode(ctm)
    (tmp_path / "cat.ctm").write_bytes(ctm)
    expected = processor(text="<image> what is this", images=[decoded], return_tensors="pt")
    before = answer(model, expected)
    integration.attach(model, cotam, processor)
    for picture in (ctm, tmp_path / "cat.ctm", str(tmp_path / "cat.ctm"), decoded):
        inputs = processor(text="<image> what is this", images=[picture], return_tensors="pt")
        assert set(inputs) == set(expected)
        torch.testing.assert_close(inputs["pixel_values"], expected["pixel_values"])
        assert answer(model, inputs) == before
    with pytest.raises((NotACotamFile, TypeError, ValueError, OSError)):
        processor(text="<image>", images=[b"no picture"], return_tensors="pt")


@pytest.mark.slow
@pytest.mark.parametrize("make", [llava, llava_next])
def test_tokens_are_repaired_where_the_tower_has_an_adapter(
    make: Any, cotam: codec.Codec, ctm: bytes, tmp_path: Path
) -> None:
    model, processor = make()
    adapter = made_for(cotam, model, tmp_path / "a.safetensors")
    pixels = processor(text="<image> what", images=[cotam.decode(ctm)], return_tensors="pt")
    by_pixels = logits(model, pixels)
    integration.attach(model, cotam, processor, adapter=adapter)
    inputs = processor(text="<image> what", images=[ctm], return_tensors="pt")
    torch.testing.assert_close(inputs["pixel_values"], pixels["pixel_values"])
    repaired = logits(model, inputs)
    assert (repaired - by_pixels).abs().max() > 1e-3
    assert len(answer(model, inputs)) == 4
    torch.testing.assert_close(
        logits(model, pixels), by_pixels
    )  # pictures without latents are not changed
    nothing = load_adapter(tmp_path / "a.safetensors")
    torch.nn.init.zeros_(nothing.networks[0].head.weight)
    integration.attach(model, cotam, processor, adapter=nothing)
    torch.testing.assert_close(logits(model, inputs), by_pixels)
    model.cotam.detach()
    torch.testing.assert_close(logits(model, pixels), by_pixels)


@pytest.mark.parametrize("make", [llava, llava_next])
def test_later_layers_are_repaired_up_to_the_one_that_the_model_takes(
    make: Any, cotam: codec.Codec, ctm: bytes, tmp_path: Path
) -> None:
    """Also in a model that has run before, so that transformers already records its blocks."""
    model, processor = make()
    pixels = processor(text="<image> what", images=[cotam.decode(ctm)], return_tensors="pt")
    by_pixels = logits(model, pixels)
    depth = model.config.vision_config.num_hidden_layers
    adapter = made_for(cotam, model, tmp_path / "a.safetensors", later=(depth - 1, depth, LAST))
    torch.nn.init.zeros_(adapter.networks[0].head.weight)
    integration.attach(model, cotam, processor, adapter=adapter)
    inputs = processor(text="<image> what", images=[ctm], return_tensors="pt")
    taken = logits(model, inputs)
    assert (taken - by_pixels).abs().max() > 1e-3  # the repair of block -2 has an effect
    torch.nn.init.zeros_(adapter.networks[depth].head.weight)
    torch.testing.assert_close(logits(model, inputs), taken)  # repairs of later blocks have none
    torch.nn.init.zeros_(adapter.networks[depth - 1].head.weight)
    torch.testing.assert_close(logits(model, inputs), by_pixels)
    model.cotam.detach()
    torch.testing.assert_close(logits(model, pixels), by_pixels)


def test_both_kinds_of_picture_in_one_prompt(
    cotam: codec.Codec, ctm: bytes, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    """Each picture gets its own latents at any position, also with several answers per prompt."""
    model, processor = llava()
    other = Image.fromarray(photo[::-1].copy())
    integration.attach(
        model, cotam, processor, adapter=made_for(cotam, model, tmp_path / "a.safetensors")
    )
    texts = ["<image> what", "<image> what"]
    first = logits(model, processor(text=texts, images=[ctm, other], return_tensors="pt"))
    second = logits(model, processor(text=texts, images=[other, ctm], return_tensors="pt"))
    torch.testing.assert_close(first, second.flip(0))
    inputs = processor(text=texts[:1], images=[ctm], return_tensors="pt")
    beams = model.generate(**inputs, max_new_tokens=3, num_beams=2, do_sample=False)
    assert beams.shape[0] == 1


def test_an_adapter_of_another_tower_is_refused(cotam: codec.Codec, tmp_path: Path) -> None:
    model, processor = llava()
    adapter = made_for(cotam, model, tmp_path / "a.safetensors")
    torch.nn.init.normal_(model.model.vision_tower.embeddings.patch_embedding.weight)
    with pytest.raises(WrongAdapter):
        integration.attach(model, cotam, processor, adapter=adapter)


def test_a_budget_leaves_the_language_model_fewer_tokens(
    cotam: codec.Codec, ctm: bytes, photo: NDArray[np.uint8]
) -> None:
    model, processor = llava()
    integration.attach(model, cotam, processor, token_budget=0.25)
    other = cotam.encode(photo[::-1].copy(), tool="learned", quality=50)
    text = ["<image> what is this", "<image> <image> what"]
    inputs = processor(text=text, images=[ctm, other, ctm], return_tensors="pt", padding=True)
    patches = (SIDE // PATCH) ** 2
    out = logits(model, inputs)
    assert out.shape[1] == 2 * patches // 4 + 1
    assert len(answer(model, inputs)) == 4
    full, processor = llava()
    integration.attach(full, cotam, processor, token_budget=1.0)
    one = processor(text="<image> what", images=[ctm], return_tensors="pt")
    everything = logits(full, one)
    full.cotam.detach()
    plain = {k: v for k, v in one.items() if not k.startswith("cotam")}
    torch.testing.assert_close(everything, logits(full, plain))
    for budget in (0.0, 2.0):
        with pytest.raises(BadArgument):
            integration.attach(full, cotam, token_budget=budget)
    with pytest.raises(BadArgument):
        integration.attach(llava_next()[0], cotam, token_budget=0.5)


def test_a_failed_call_leaves_nothing_behind(
    cotam: codec.Codec, ctm: bytes, tmp_path: Path
) -> None:
    model, processor = llava()
    adapter = made_for(cotam, model, tmp_path / "a.safetensors")
    integration.attach(model, cotam, processor, adapter=adapter, token_budget=0.5)
    inputs = processor(text="<image> what", images=[ctm], return_tensors="pt")
    plain = {k: v for k, v in inputs.items() if not k.startswith("cotam")}
    before = logits(model, plain)
    with pytest.raises(BadArgument, match="placeholders"):
        logits(
            model,
            inputs
            | {
                "input_ids": inputs["input_ids"][:, :20],
                "attention_mask": inputs["attention_mask"][:, :20],
            },
        )
    torch.testing.assert_close(logits(model, plain), before)


def test_labels_are_cut_and_padded_as_labels(cotam: codec.Codec, ctm: bytes) -> None:
    model, processor = llava()
    integration.attach(model, cotam, processor, token_budget=0.25)
    inputs = processor(
        text=["<image> what is this", "<image> what"],
        images=[ctm, ctm],
        return_tensors="pt",
        padding=True,
    )
    selection = quadtree(np.ones((6, 6), np.float32), 9)
    cut = shorten(dict(inputs) | {"labels": inputs["input_ids"].clone()}, [selection] * 2, 1)
    assert cut["labels"][1].tolist() == [-100, -100, *[1] * 9, 2]
    assert cut["input_ids"][1].tolist() == [0, 0, *[1] * 9, 2]
    assert cut["attention_mask"][1].tolist() == [0, 0, *[1] * 10]


def test_any_weights_go_by_pixels(ctm: bytes) -> None:
    """Without an adapter, a model accepts files of all shipped weights."""
    model, processor = llava()
    integration.attach(model, processor=processor)
    other = codec.load("small-mse", "cpu").encode(codec.decode(ctm), tool="learned", quality=40)
    assert processor(text="<image>", images=[other], return_tensors="pt")["pixel_values"].shape == (
        1,
        3,
        SIDE,
        SIDE,
    )


@pytest.mark.parametrize("size", [(300, 451), (451, 300), (90, 90), (60, 333)])
def test_views_say_where_the_tower_looks(size: tuple[int, int]) -> None:
    height, width = size
    short = min(size)
    crop = llava()[1].image_processor
    (box,) = views_of(crop, height, width)
    half_x, half_y = short / width / 2, short / height / 2
    wanted = torch.tensor([0.5 - half_x, 0.5 - half_y, 0.5 + half_x, 0.5 + half_y])
    torch.testing.assert_close(box, wanted, atol=1.5 / SIDE, rtol=0)
    padded = transformers.LlavaImageProcessor(
        size={"shortest_edge": SIDE},
        crop_size={"height": SIDE, "width": SIDE},
        do_pad=True,
        image_mean=[0.0, 0.0, 0.0],
    )
    (box,) = views_of(padded, height, width)
    half_x, half_y = max(size) / width / 2, max(size) / height / 2
    wanted = torch.tensor([0.5 - half_x, 0.5 - half_y, 0.5 + half_x, 0.5 + half_y])
    torch.testing.assert_close(box, wanted, atol=2.5 / SIDE * max(size) / short, rtol=0)
    boxes = views_of(llava_next()[1].image_processor, height, width)
    torch.testing.assert_close(boxes[0], torch.tensor([0.0, 0.0, 1.0, 1.0]), atol=0.02, rtol=0)
    assert len(boxes) in (3, 5)
    seen = boxes[1:][~boxes[1:].isnan().any(1)]
    assert seen[:, 0].min() < 0.05
    assert seen[:, 3].max() > 0.95


@pytest.mark.parametrize("kind", ["Qwen2VL", "Qwen2_5_VL"])
def test_qwen_goes_by_pixels(kind: str, cotam: codec.Codec, ctm: bytes) -> None:
    torch.manual_seed(0)
    config_class = getattr(transformers, f"{kind}Config")
    text = {
        "vocab_size": 60,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    text |= {
        "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 1e4},
    }
    vision: dict[str, Any] = {
        "depth": 2,
        "num_heads": 2,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }
    vision |= (
        {"embed_dim": 32, "hidden_size": 32}
        if kind == "Qwen2VL"
        else {"hidden_size": 32, "out_hidden_size": 32}
    )
    vision |= (
        {}
        if kind == "Qwen2VL"
        else {"intermediate_size": 48, "fullatt_block_indexes": [1], "window_size": 112}
    )
    config = config_class(
        text_config=text,
        vision_config=vision,
        image_token_id=1,
        vision_start_token_id=2,
        vision_end_token_id=3,
    )
    model = getattr(transformers, f"{kind}ForConditionalGeneration")(config).eval()
    images = transformers.Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=112 * 112)
    decoded = images([cotam.decode(ctm)], return_tensors="pt")
    integration.attach(model, cotam, images)
    inputs = images([ctm], return_tensors="pt")
    model.cotam.detach()
    assert set(inputs) == set(decoded)
    torch.testing.assert_close(inputs["pixel_values"], decoded["pixel_values"])
    count = int(inputs["image_grid_thw"].prod()) // 4
    ids = torch.tensor([[2] + [1] * count + [3, 7]])
    types = (ids == 1).long()
    given = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": types,
        **inputs,
    }
    out = model.generate(**given, max_new_tokens=3, do_sample=False)
    assert out.shape[1] == ids.shape[1] + 3


COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
}


def attached(cotam: codec.Codec, folder: Path, make: Any = None, **options: Any) -> tuple[Any, Any]:
    """A LLaVA with an adapter."""
    model, processor = (make or llava)()
    adapter = made_for(cotam, model, folder / "a.safetensors")
    integration.attach(model, cotam, processor, adapter=adapter, **options)
    return model, processor


def only_known(inputs: Any) -> dict[str, Any]:
    return {name: value for name, value in inputs.items() if not name.startswith("cotam")}


def test_an_attached_processor_is_the_object_that_it_was(
    cotam: codec.Codec, ctm: bytes, tmp_path: Path
) -> None:
    """It prints, saves and loads as before, and its copies use pixels."""
    _, plain = llava()
    plain.save_pretrained(tmp_path / "before")
    model, processor = attached(cotam, tmp_path)
    assert type(processor.image_processor) is type(plain.image_processor)
    assert repr(processor) == repr(plain)
    assert hash(processor.image_processor) == hash(processor.image_processor)
    inputs = processor(text="<image> what", images=[ctm], return_tensors="pt")
    assert "cotam_latents" in inputs
    processor.save_pretrained(tmp_path / "after")
    for file in (tmp_path / "before").iterdir():
        assert (tmp_path / "after" / file.name).read_bytes() == file.read_bytes()
    loaded = transformers.LlavaProcessor.from_pretrained(tmp_path / "after")
    for copied in (*(make(processor) for make in COPIES.values()), loaded):
        others = copied(text="<image> what", images=[ctm], return_tensors="pt")
        assert set(others) == set(only_known(inputs))
        assert torch.equal(others["pixel_values"], inputs["pixel_values"])
        assert logits(model, others).shape == logits(model, inputs).shape


@pytest.mark.slow
@pytest.mark.parametrize("copied", COPIES)
def test_an_attached_model_is_copied_with_what_is_attached(
    copied: str, cotam: codec.Codec, ctm: bytes, tmp_path: Path
) -> None:
    """Before and after use. Detaching the copy does not detach the original, and vice versa."""
    model, processor = attached(cotam, tmp_path)
    unused = COPIES[copied](model)
    inputs = processor(text="<image> what", images=[ctm], return_tensors="pt")
    wanted = logits(model, inputs)
    said = answer(model, inputs)
    # After its first call, a model has hooks of transformers that cannot be pickled.
    other = copy.deepcopy(model) if copied == "pickle" else COPIES[copied](model)
    for one in (unused, other):
        torch.testing.assert_close(logits(one, inputs), wanted)
        assert answer(one, inputs) == said
        assert one.cotam.model is one
        assert repr(one) == repr(model)
    by_pixels = logits(model, only_known(inputs))
    other.cotam.detach()
    torch.testing.assert_close(logits(other, only_known(inputs)), by_pixels)
    assert not hasattr(other, "cotam")
    torch.testing.assert_close(logits(model, inputs), wanted)
    model.cotam.detach()
    torch.testing.assert_close(logits(unused, inputs), wanted)
    assert answer(unused, inputs) == said


def test_an_attached_model_is_saved_as_if_it_were_not(
    cotam: codec.Codec, ctm: bytes, tmp_path: Path
) -> None:
    model, processor = attached(cotam, tmp_path, token_budget=0.5)
    inputs = processor(text="<image> what", images=[ctm], return_tensors="pt")
    loss = model(**inputs, labels=inputs["input_ids"].clone()).loss
    loss.backward()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    optimizer.step()
    model.save_pretrained(tmp_path / "saved")
    plain = transformers.LlavaForConditionalGeneration.from_pretrained(tmp_path / "saved")
    assert set(plain.state_dict()) == set(llava()[0].state_dict())
    model.cotam.detach()
    torch.testing.assert_close(logits(plain, only_known(inputs)), logits(model, only_known(inputs)))


@pytest.mark.slow
def test_a_trainer_saves_a_checkpoint_of_an_attached_model(
    cotam: codec.Codec, ctm: bytes, tmp_path: Path
) -> None:
    pytest.importorskip("accelerate")
    model, processor = attached(cotam, tmp_path)
    inputs = processor(text="<image> what", images=[ctm], return_tensors="pt")
    row = {name: value[0] for name, value in inputs.items()} | {"labels": inputs["input_ids"][0]}
    settings = transformers.TrainingArguments(
        output_dir=str(tmp_path / "out"),
        max_steps=1,
        save_steps=1,
        per_device_train_batch_size=2,
        remove_unused_columns=False,
        report_to=[],
        use_cpu=True,
    )
    transformers.Trainer(model, settings, train_dataset=[row, row]).train()
    assert (tmp_path / "out" / "checkpoint-1" / "model.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("make", [llava, llava_next])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_repaired_alike(
    make: Any, dtype: torch.dtype, cotam: codec.Codec, ctm: bytes, tmp_path: Path
) -> None:
    model, processor = attached(cotam, tmp_path, make)
    inputs = processor(text="<image> what", images=[ctm], return_tensors="pt")
    wanted = logits(model, inputs)
    by_pixels = logits(model, only_known(inputs))
    model.to(dtype)
    for given in (inputs, copy.deepcopy(inputs).to(dtype)):
        halves = {
            name: value.to(dtype) if name == "pixel_values" else value
            for name, value in given.items()
        }
        found = logits(model, halves)
        assert found.dtype == dtype
        change = (wanted - by_pixels).abs().max()
        assert (found.float() - wanted).abs().max() < 0.5 * change
        assert len(answer(model, halves)) == 4


def test_a_model_under_autocast_is_repaired(cotam: codec.Codec, ctm: bytes, tmp_path: Path) -> None:
    model, processor = attached(cotam, tmp_path)
    inputs = processor(text="<image> what", images=[ctm], return_tensors="pt")
    wanted = logits(model, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        found = logits(model, inputs)
    torch.testing.assert_close(found.float(), wanted, atol=0.05, rtol=0.1)


def test_an_adapter_follows_the_features_to_their_device(
    cotam: codec.Codec, ctm: bytes, tmp_path: Path
) -> None:
    """The meta device, which every machine has, computes nothing but checks devices."""
    model, processor = attached(cotam, tmp_path)
    inputs = processor(text="<image> what", images=[ctm], return_tensors="pt")
    tokens = torch.zeros(1, 37, WIDTH, device="meta")
    model.cotam._begin("forward", dict(inputs))
    assert model.cotam._repaired(0, tokens).device.type == "meta"
    model.cotam._end()
    assert model.cotam.adapter.networks[0].positions.device.type == "cpu"
    assert len(answer(model, inputs)) == 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_model_moved_after_attach_is_repaired(
    cotam: codec.Codec, ctm: bytes, tmp_path: Path
) -> None:
    model, processor = attached(cotam, tmp_path, token_budget=0.5)
    inputs = processor(text="<image> what", images=[ctm], return_tensors="pt")
    wanted = logits(model, inputs)
    model.to("cuda")
    on_gpu = inputs.to("cuda")
    torch.testing.assert_close(logits(model, on_gpu).cpu(), wanted, atol=1e-3, rtol=1e-3)
    assert len(answer(model, on_gpu)) == 4


def test_what_follows_the_prompt_is_the_answer(cotam: codec.Codec, ctm: bytes) -> None:
    """`out[:, input_ids.shape[1]:]`, also with a token budget, beams and several answers."""
    model, processor = llava()
    texts = ["<image> what is this", "<image> what"]
    integration.register()
    inputs = processor(text=texts, images=[ctm, ctm], return_tensors="pt", padding=True)
    integration.attach(model, cotam, processor, token_budget=0.25)
    with_bits = processor(text=texts, images=[ctm, ctm], return_tensors="pt", padding=True)
    ids = inputs["input_ids"]
    for given in (inputs, with_bits):
        out = model.generate(**given, max_new_tokens=3, min_new_tokens=3, do_sample=False)
        assert torch.equal(out[:, : ids.shape[1]], ids)
        assert out.shape == (2, ids.shape[1] + 3)
    options = {"max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False}
    many = model.generate(**with_bits, **options, num_beams=2, num_return_sequences=2)
    assert torch.equal(many[:, : ids.shape[1]], ids.repeat_interleave(2, 0))
    both = model.generate(**with_bits, **options, return_dict_in_generate=True)
    assert torch.equal(both.sequences, out)
    limited = model.generate(
        **with_bits, max_length=ids.shape[1] + 3, min_new_tokens=3, do_sample=False
    )
    assert torch.equal(limited, out)
    positional = model.generate(
        ids, **{k: v for k, v in with_bits.items() if k != "input_ids"}, **options
    )
    assert torch.equal(positional, out)
    one = model.generate(input_ids=torch.tensor([[2, 3]]), max_new_tokens=2, min_new_tokens=2)
    assert one.shape == (1, 4)


def test_each_picture_gets_its_share_whatever_its_format_or_neighbours(
    cotam: codec.Codec, ctm: bytes, photo: NDArray[np.uint8]
) -> None:
    model, processor = llava()
    integration.attach(model, cotam, processor, token_budget=0.25)
    png = Image.fromarray(photo)
    screen = cotam.encode(photo[:64, :64], tool="palette")
    quarter = (SIDE // PATCH) ** 2 // 4

    def given(*pictures: Any) -> Any:
        texts = ["<image> what"] * len(pictures)
        return processor(text=texts, images=list(pictures), return_tensors="pt")

    alone = {name: logits(model, given(one)) for name, one in (("png", png), ("ctm", ctm))}
    assert {one.shape[1] for one in alone.values()} == {quarter + 1}
    assert logits(model, given(screen)).shape[1] == quarter + 1
    together = logits(model, given(png, ctm, screen))
    torch.testing.assert_close(together[:1], alone["png"])
    torch.testing.assert_close(together[1:2], alone["ctm"])


def test_pictures_of_other_tools_and_weights_have_no_latents_and_go_by_pixels(
    cotam: codec.Codec, ctm: bytes, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    model, processor = attached(cotam, tmp_path)
    screen = cotam.encode(photo[:64, :64], tool="palette")
    foreign = codec.load("tiny", "cpu").encode(photo, tool="learned")
    text = ["<image> what"] * 3
    inputs = processor(text=text, images=[screen, ctm, foreign], return_tensors="pt")
    found = logits(model, inputs)
    by_pixels = logits(model, only_known(inputs))
    torch.testing.assert_close(found[[0, 2]], by_pixels[[0, 2]])
    assert (found[1] - by_pixels[1]).abs().max() > 1e-3


def test_transparency_is_seen_on_white(cotam: codec.Codec) -> None:
    model, processor = llava()
    integration.attach(model, cotam, processor)
    letters = np.zeros((60, 60, 4), np.uint8)
    letters[20:40, 20:40, 3] = 255
    ground = np.full((60, 60, 3), 255, np.uint8)
    ground[20:40, 20:40] = 0
    for tool in ("learned", "palette"):
        file = cotam.encode(Image.fromarray(letters), tool=tool)
        seen = processor.image_processor([file], return_tensors="pt")["pixel_values"]
        wanted = processor.image_processor([ground], return_tensors="pt")["pixel_values"]
        assert (seen - wanted).abs().mean() < 0.1


@pytest.mark.slow
def test_ordinary_pictures_are_preprocessed_once(
    cotam: codec.Codec, ctm: bytes, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = llava()
    integration.attach(model, cotam, processor, token_budget=0.5)
    calls: list[int] = []
    kind = type(processor.image_processor)
    preprocess = kind.preprocess

    def counted(self: Any, images: Any, *arguments: Any, **named: Any) -> Any:
        calls.append(len(images))
        return preprocess(self, images, *arguments, **named)

    monkeypatch.setattr(kind, "preprocess", counted)
    processor.image_processor([Image.fromarray(photo)] * 3, return_tensors="pt")
    assert calls == [3]
    for _ in range(2):  # the first call also processes a picture of coordinates, once per size
        calls.clear()
        processor.image_processor([Image.fromarray(photo), ctm], return_tensors="pt")
        first, calls[:] = list(calls), []
    assert first == [2]


@pytest.mark.slow
def test_batches_of_tiled_pictures_keep_each_pictures_latents(
    cotam: codec.Codec, ctm: bytes, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    """Pictures with different numbers of views, pictures without latents, and beams."""
    model, processor = attached(cotam, tmp_path, llava_next)
    wide = cotam.encode(photo[:100], tool="learned", quality=50)
    pictures = {"ctm": ctm, "png": Image.fromarray(photo[::-1].copy()), "wide": wide}

    def given(*names: str) -> Any:
        texts = ["<image> what"] * len(names)
        images = [pictures[name] for name in names]
        return processor(text=texts, images=images, return_tensors="pt", padding=True)

    def last(inputs: Any) -> torch.Tensor:
        return logits(model, inputs)[:, -1]

    processor.tokenizer.padding_side = "left"
    together = last(given("png", "wide", "ctm"))
    for place, name in enumerate(("png", "wide", "ctm")):
        torch.testing.assert_close(together[place], last(given(name))[0], atol=1e-4, rtol=1e-3)
    single = model.generate(**given("wide"), max_new_tokens=2, min_new_tokens=2, num_beams=2)
    both = model.generate(**given("wide", "ctm"), max_new_tokens=2, min_new_tokens=2, num_beams=2)
    assert single[0, -2:].tolist() == both[0, -2:].tolist()


def test_detach_undoes_everything(
    cotam: codec.Codec, ctm: bytes, tmp_path: Path, photo: NDArray[np.uint8]
) -> None:
    from transformers import image_utils

    before = [
        image_utils.load_image,
        transformers.image_processing_base.ImageProcessingMixin.fetch_images,
    ]
    model, processor = llava()
    keys = set(vars(model))
    picture = processor(text="<image>", images=[Image.fromarray(photo)], return_tensors="pt")
    wanted = logits(model, picture)
    hooks = [
        len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()
    ]
    adapter = made_for(cotam, model, tmp_path / "a.safetensors")
    integration.attach(model, cotam, processor, adapter=adapter, token_budget=0.5)
    integration.attach(model, cotam, processor, adapter=adapter, token_budget=0.5)
    integration.detach(model)
    integration.detach(model)
    assert set(vars(model)) == keys
    assert hooks == [
        len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()
    ]
    again = processor(text="<image>", images=[Image.fromarray(photo)], return_tensors="pt")
    assert set(again) == set(picture)
    torch.testing.assert_close(logits(model, again), wanted)
    by_pixels = processor(text="<image>", images=[ctm], return_tensors="pt")
    assert set(by_pixels) == set(picture)
    assert len(answer(model, by_pixels)) == 4
    integration.unregister()
    assert before == [
        image_utils.load_image,
        transformers.image_processing_base.ImageProcessingMixin.fetch_images,
    ]
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        processor(text="<image>", images=[ctm], return_tensors="pt")


def test_threads_of_one_model_keep_their_pictures_apart(
    cotam: codec.Codec, ctm: bytes, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    model, processor = attached(cotam, tmp_path)
    other = cotam.encode(photo[::-1].copy(), tool="learned", quality=50)
    inputs = [
        processor(text="<image> what", images=[one], return_tensors="pt") for one in (ctm, other)
    ]
    wanted = [logits(model, one) for one in inputs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: logits(model, one), inputs * 4))
    for one, right in zip(found, wanted * 4):
        torch.testing.assert_close(one, right)
