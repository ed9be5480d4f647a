"""Tiny models of transformers' own classes, randomly initialised, with their processors.

There is one entry for each family of docs/mllm.md. Nothing is downloaded: this file creates
configurations and tokenizers, and the processors are the real classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers

SIDE = 48
PATCH = 8
WIDTH = 32
VOCABULARY = 320
PAD = 0
WORDS = ("what", "is", "this")
TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": PAD,
    "bos_token_id": None,
    "eos_token_id": None,
}
MROPE = {
    "rope_parameters": {
        "rope_type": "default",
        "mrope_section": [2, 1, 1],
        "rope_theta": 1e4,
    }
}
TOWER = {
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": PATCH,
}
SQUARE = {"height": SIDE, "width": SIDE}


@dataclass(frozen=True)
class Family:
    """A family of models.

    Attributes:
        name: as in docs/mllm.md.
        placeholder: the placeholder of a picture in a prompt.
        make: creates a model and its processor.
        latents: whether its tower accepts tokens from latents.
        budget: whether its language model accepts a token budget.
        runs: whether this version of transformers runs the model. Llama 4's `forward` of 5.24 reads
            an output that its language model does not have.
    """

    name: str
    placeholder: str
    make: Callable[[], tuple[Any, Any]]
    latents: bool = False
    budget: bool = False
    runs: bool = True


def tokenizer(special: Sequence[str] | Mapping[str, str]) -> Any:
    """A tokenizer with a few words and special tokens; a mapping also names their attributes."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    named = isinstance(special, Mapping)
    tokens = list(special.values()) if isinstance(special, Mapping) else list(special)
    words = ["<pad>", "<unk>", *WORDS, *tokens]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(words))}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        unk_token="<unk>",
        padding_side="left",
        extra_special_tokens=special if named else tokens,
    )


def template(placeholder: str) -> str:
    """A chat template that concatenates placeholders and texts."""
    return (
        "{% for message in messages %}{% for part in message.content %}"
        "{% if part.type == 'image' %}" + placeholder + "{% else %} {{ part.text }}{% endif %}"
        "{% endfor %}{% endfor %}"
    )


def seeded(kind: Any, config: Any) -> Any:
    torch.manual_seed(0)
    return kind(config).eval()


def clip_tower() -> Any:
    return transformers.CLIPVisionConfig(**TOWER)


def siglip_tower() -> Any:
    return transformers.SiglipVisionConfig(**TOWER, vision_use_head=False)


def llava() -> tuple[Any, Any]:
    config = transformers.LlavaConfig(
        vision_config=clip_tower(),
        text_config=transformers.LlamaConfig(**TEXT),
        image_token_id=5,
        vision_feature_layer=-2,
    )
    images = transformers.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=SQUARE)
    processor = transformers.LlavaProcessor(
        images,
        tokenizer(["<image>"]),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template("<image>"),
    )
    return seeded(transformers.LlavaForConditionalGeneration, config), processor


def llava_next() -> tuple[Any, Any]:
    points = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
    config = transformers.LlavaNextConfig(
        vision_config=clip_tower(),
        text_config=transformers.LlamaConfig(**TEXT),
        image_token_id=5,
        vision_feature_layer=-2,
        image_grid_pinpoints=points,
    )
    images = transformers.LlavaNextImageProcessor(
        image_grid_pinpoints=points, size={"shortest_edge": SIDE}, crop_size=SQUARE
    )
    processor = transformers.LlavaNextProcessor(
        images,
        tokenizer(["<image>"]),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template("<image>"),
    )
    return seeded(transformers.LlavaNextForConditionalGeneration, config), processor


def llava_onevision() -> tuple[Any, Any]:
    points = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
    config = transformers.LlavaOnevisionConfig(
        vision_config=siglip_tower(),
        text_config=transformers.Qwen2Config(**TEXT),
        image_token_id=5,
        video_token_id=6,
        image_grid_pinpoints=points,
    )
    images = transformers.LlavaOnevisionImageProcessor(image_grid_pinpoints=points, size=SQUARE)
    processor = transformers.LlavaOnevisionProcessor(
        images,
        tokenizer(["<image>", "<video>"]),
        transformers.LlavaOnevisionVideoProcessor(size=SQUARE),
        num_image_tokens=(SIDE // PATCH) ** 2,
        vision_feature_select_strategy="full",
        chat_template=template("<image>"),
    )
    return seeded(transformers.LlavaOnevisionForConditionalGeneration, config), processor


QWEN = ("<|vision_start|>", "<|image_pad|>", "<|video_pad|>", "<|vision_end|>")
QWEN_IDS = {
    "vision_start_token_id": 5,
    "image_token_id": 6,
    "video_token_id": 7,
    "vision_end_token_id": 8,
}
QWEN_PIXELS = {"min_pixels": 56 * 56, "max_pixels": 112 * 112}


def qwen(kind: str, vision: dict[str, Any]) -> tuple[Any, Any]:
    config = getattr(transformers, f"{kind}Config")(
        text_config=TEXT | MROPE | {"head_dim": 8}, vision_config=vision, **QWEN_IDS
    )
    video = "Qwen3VLVideoProcessor" if kind == "Qwen3VL" else "Qwen2VLVideoProcessor"
    patch = {"patch_size": 16} if kind == "Qwen3VL" else {}
    processor = getattr(transformers, f"{kind.replace('VL', 'VLProcessor')}")(
        transformers.Qwen2VLImageProcessor(**QWEN_PIXELS, **patch),
        tokenizer(QWEN),
        getattr(transformers, video)(),
        chat_template=template("".join((QWEN[0], QWEN[1], QWEN[3]))),
    )
    return seeded(getattr(transformers, f"{kind}ForConditionalGeneration"), config), processor


def qwen2_vl() -> tuple[Any, Any]:
    return qwen("Qwen2VL", {"depth": 2, "num_heads": 2, "embed_dim": 32, "hidden_size": WIDTH})


def qwen2_5_vl() -> tuple[Any, Any]:
    return qwen(
        "Qwen2_5_VL",
        {
            "depth": 2,
            "num_heads": 2,
            "hidden_size": 32,
            "out_hidden_size": WIDTH,
            "intermediate_size": 48,
            "fullatt_block_indexes": [1],
        },
    )


def qwen3_vl() -> tuple[Any, Any]:
    return qwen(
        "Qwen3VL",
        {
            "depth": 2,
            "num_heads": 2,
            "hidden_size": 32,
            "out_hidden_size": WIDTH,
            "intermediate_size": 48,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
    )


def glm4v() -> tuple[Any, Any]:
    special = (
        "<|begin_of_image|>",
        "<|image|>",
        "<|end_of_image|>",
        "<|begin_of_video|>",
        "<|video|>",
        "<|end_of_video|>",
    )
    config = transformers.Glm4vConfig(
        text_config=TEXT | MROPE,
        vision_config={
            "depth": 2,
            "num_heads": 2,
            "hidden_size": 32,
            "out_hidden_size": WIDTH,
            "intermediate_size": 48,
            "image_size": 112,
        },
        image_start_token_id=5,
        image_token_id=6,
        image_end_token_id=7,
        video_start_token_id=8,
        video_token_id=9,
        video_end_token_id=10,
    )
    processor = transformers.Glm4vProcessor(
        transformers.Glm4vImageProcessor(
            size={"shortest_edge": 56 * 56, "longest_edge": 2 * 112 * 112}
        ),
        tokenizer(special),
        transformers.Glm4vVideoProcessor(),
        chat_template=template("".join(special[:3])),
    )
    return seeded(transformers.Glm4vForConditionalGeneration, config), processor


def internvl() -> tuple[Any, Any]:
    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    config = transformers.InternVLConfig(
        vision_config=transformers.InternVLVisionConfig(
            **(TOWER | {"image_size": [SIDE, SIDE], "patch_size": [PATCH, PATCH]})
        ),
        text_config=transformers.Qwen2Config(**TEXT),
        image_token_id=7,
        image_seq_length=9,
    )
    processor = transformers.InternVLProcessor(
        transformers.GotOcr2ImageProcessor(size=SQUARE, crop_to_patches=False),
        tokenizer(named),
        transformers.InternVLVideoProcessor(size=SQUARE),
        image_seq_length=9,
        chat_template=template("<IMG_CONTEXT>"),
    )
    return seeded(transformers.InternVLForConditionalGeneration, config), processor


def gemma3() -> tuple[Any, Any]:
    named = {
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
        "image_token": "<image_soft_token>",
    }
    config = transformers.Gemma3Config(
        text_config=TEXT | {"head_dim": 8, "sliding_window": 64},
        vision_config=siglip_tower(),
        mm_tokens_per_image=9,
        boi_token_index=5,
        eoi_token_index=6,
        image_token_index=7,
    )
    processor = transformers.Gemma3Processor(
        transformers.Gemma3ImageProcessor(size=SQUARE),
        tokenizer(named),
        image_seq_length=9,
        chat_template=template("<start_of_image>"),
    )
    model = seeded(transformers.Gemma3ForConditionalGeneration, config)
    # It is initialised with zeros, so pictures would have no effect.
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight)
    return model, processor


def idefics3() -> tuple[Any, Any]:
    special = [
        "<fake_token_around_image>",
        "<image>",
        "<end_of_utterance>",
        "<global-img>",
        *(f"<row_{row}_col_{col}>" for row in range(1, 7) for col in range(1, 7)),
    ]
    config = transformers.Idefics3Config(
        vision_config=TOWER,
        text_config=transformers.LlamaConfig(**TEXT),
        image_token_id=6,
        scale_factor=2,
    )
    processor = transformers.Idefics3Processor(
        transformers.Idefics3ImageProcessor(
            size={"longest_edge": 2 * SIDE}, max_image_size={"longest_edge": SIDE}
        ),
        tokenizer(special),
        image_seq_len=9,
        chat_template=template("<image>"),
    )
    return seeded(transformers.Idefics3ForConditionalGeneration, config), processor


def mistral3() -> tuple[Any, Any]:
    tower = {key: value for key, value in TOWER.items() if key != "num_hidden_layers"}
    config = transformers.Mistral3Config(
        vision_config=transformers.PixtralVisionConfig(**tower, num_hidden_layers=2),
        text_config=transformers.MistralConfig(**TEXT, head_dim=8),
        image_token_index=5,
        spatial_merge_size=2,
    )
    processor = transformers.PixtralProcessor(
        transformers.PixtralImageProcessor(
            size={"longest_edge": SIDE}, patch_size={"height": PATCH, "width": PATCH}
        ),
        tokenizer(["[IMG]", "[IMG_BREAK]", "[IMG_END]"]),
        patch_size=PATCH,
        spatial_merge_size=2,
        chat_template=template("[IMG]"),
    )
    return seeded(transformers.Mistral3ForConditionalGeneration, config), processor


def paligemma() -> tuple[Any, Any]:
    words = tokenizer({"image_token": "<image>"})
    words.bos_token = "<unk>"
    config = transformers.PaliGemmaConfig(
        vision_config=siglip_tower(),
        text_config=transformers.GemmaConfig(**TEXT | {"vocab_size": 2048}, head_dim=8),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        projection_dim=WIDTH,
        hidden_size=WIDTH,
    )
    images = transformers.SiglipImageProcessor(size=SQUARE)
    images.image_seq_length = (SIDE // PATCH) ** 2
    processor = transformers.PaliGemmaProcessor(images, words, chat_template=template("<image>"))
    return seeded(transformers.PaliGemmaForConditionalGeneration, config), processor


def llama4() -> tuple[Any, Any]:
    special = [
        "<|image|>",
        "<|image_start|>",
        "<|image_end|>",
        "<|patch|>",
        "<|tile_x_separator|>",
        "<|tile_y_separator|>",
    ]
    config = transformers.Llama4Config(
        vision_config=TOWER
        | {
            "vision_output_dim": WIDTH,
            "projector_input_dim": WIDTH,
            "projector_output_dim": WIDTH,
            "intermediate_size": 4 * WIDTH,
        },
        text_config=TEXT | {"intermediate_size_mlp": 48, "num_local_experts": 2, "head_dim": 8},
        boi_token_index=6,
        eoi_token_index=7,
        image_token_index=8,
    )
    processor = transformers.Llama4Processor(
        transformers.Llama4ImageProcessor(size=SQUARE, max_patches=4),
        tokenizer(special),
        patch_size=PATCH,
        chat_template=template("<|image|>"),
    )
    return seeded(transformers.Llama4ForConditionalGeneration, config), processor


QWEN_PLACEHOLDER = "".join((QWEN[0], QWEN[1], QWEN[3]))
GLM_PLACEHOLDER = "<|begin_of_image|><|image|><|end_of_image|>"
FAMILIES = (
    Family("LLaVA", "<image>", llava, latents=True, budget=True),
    Family("LLaVA-NeXT", "<image>", llava_next, latents=True),
    Family("LLaVA-OneVision", "<image>", llava_onevision, latents=True),
    Family("Qwen2-VL", QWEN_PLACEHOLDER, qwen2_vl),
    Family("Qwen2.5-VL", QWEN_PLACEHOLDER, qwen2_5_vl),
    Family("Qwen3-VL", QWEN_PLACEHOLDER, qwen3_vl),
    Family("InternVL", "<IMG_CONTEXT>", internvl, latents=True),
    Family("Gemma 3", "<start_of_image>", gemma3, latents=True),
    Family("Idefics3", "<image>", idefics3, latents=True),
    Family("Mistral 3 (Pixtral)", "[IMG]", mistral3),
    Family("PaliGemma", "<image>", paligemma, latents=True),
    Family("GLM-4V", GLM_PLACEHOLDER, glm4v),
    Family("Llama 4", "<|image|>", llama4, runs=False),
)
