"""Vision towers compared with their libraries: attention, tokens, weights from files."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import open_clip
import pytest
import timm
import torch
from open_clip.transformer import QuickGELU, VisionTransformer
from safetensors.torch import save_file
from skimage import data
from timm.models.vision_transformer import VisionTransformer as TimmTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from codec.errors import BadArgument, GuideUnavailable, UnknownModel, UnsupportedTower
from codec.towers import LAST, Tower, load_tower
from codec.towers.anatomy import open_clip_anatomy, timm_anatomy

MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
TINY = {"image_size": 64, "patch_size": 16, "width": 48, "layers": 4, "heads": 3, "mlp_ratio": 2.0}


def clip_tower(**changes: object) -> Tower:
    torch.manual_seed(3)
    visual = VisionTransformer(**(TINY | {"output_dim": 32} | changes))
    for block in (
        visual.transformer.resblocks
    ):  # sharper than at initialisation, so that attention varies between positions
        nn.init.normal_(block.attn.in_proj_weight, std=0.3)
    return Tower("tiny clip", visual, open_clip_anatomy(visual), MEAN, STD)


def timm_tower(**changes: object) -> Tower:
    torch.manual_seed(4)
    shape = {
        "img_size": 64,
        "patch_size": 16,
        "embed_dim": 48,
        "depth": 4,
        "num_heads": 3,
        "num_classes": 10,
    }
    trunk = TimmTransformer(**(shape | changes))
    for block in trunk.blocks:
        nn.init.normal_(block.attn.qkv.weight, std=0.3)
    return Tower("tiny timm", trunk, timm_anatomy(trunk), MEAN, STD)


def siglip_tower() -> Tower:
    return timm_tower(class_token=False, global_pool="map", num_classes=0)


KINDS = {"open_clip": clip_tower, "timm": timm_tower, "siglip": siglip_tower}


@pytest.fixture(scope="module", params=KINDS)
def tower(request: pytest.FixtureRequest) -> Tower:
    return KINDS[request.param]()


@pytest.fixture(scope="module")
def astronaut() -> Tensor:
    """[1, 3, 512, 512] in 0..1."""
    return torch.from_numpy(data.astronaut().copy()).permute(2, 0, 1)[None].float() / 255


@pytest.fixture
def small_clip(tmp_path: Path) -> Iterator[str]:
    """The name of an open_clip model with a small vision part."""
    vision = {
        "image_size": 64,
        "patch_size": 16,
        "width": 48,
        "layers": 4,
        "head_width": 16,
        "mlp_ratio": 2.0,
    }
    text = {"context_length": 8, "vocab_size": 16, "width": 16, "heads": 1, "layers": 1}
    (tmp_path / "ViT-Small-Test.json").write_text(
        json.dumps({"embed_dim": 32, "vision_cfg": vision, "text_cfg": text})
    )
    open_clip.add_model_config(tmp_path)
    yield "ViT-Small-Test"
    open_clip.factory._MODEL_CONFIG_PATHS.remove(tmp_path)
    open_clip.factory._MODEL_CONFIGS.pop("ViT-Small-Test")


def blocks_of(tower: Tower) -> list[nn.Module]:
    trunk = tower.trunk
    return list(
        trunk.transformer.resblocks if isinstance(trunk, VisionTransformer) else trunk.blocks
    )


def attention_by_hand(tower: Tower, entering: Tensor, k: int) -> Tensor:
    """softmax(Q K^T / sqrt d) of block k from its weights, averaged over the heads [B, N, N]."""
    block = blocks_of(tower)[k - 1]
    if isinstance(tower.trunk, VisionTransformer):
        heads = block.attn.num_heads
        projected = F.linear(
            block.ln_1(entering), block.attn.in_proj_weight, block.attn.in_proj_bias
        )
    else:
        heads = block.attn.num_heads
        projected = block.attn.qkv(block.norm1(entering))
    q, key, _ = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in projected.chunk(3, -1))
    return (q @ key.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1).mean(1)


def hooks(tower: Tower) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in tower.modules())


def check_attention(tower: Tower, x: Tensor, layers: int) -> Tensor:
    """Compare a tower's maps with `attention_by_hand`, and return them."""
    maps = tower.attention(x, layers)
    entering = tower.tokens(x, range(layers))
    assert maps.shape == (len(x), layers, *tower.grid)
    for k in range(1, layers + 1):
        full = attention_by_hand(tower, entering[k - 1], k)
        received = full[:, 0] if tower.class_token else full.mean(1)
        torch.testing.assert_close(
            maps[:, k - 1].flatten(1), received[:, tower.prefix :], atol=2e-6, rtol=1e-4
        )
        rest = received[:, : tower.prefix].sum(1)
        torch.testing.assert_close(maps[:, k - 1].sum((1, 2)) + rest, torch.ones(len(x)))
    return maps


def test_attention_is_the_softmax_of_the_blocks_own_queries_and_keys(
    tower: Tower, astronaut: Tensor
) -> None:
    x = tower.prepare(torch.cat([astronaut, astronaut.flip(-1)]))
    maps = check_attention(tower, x, 3)
    assert (maps.amax((2, 3)) > 1.2 * maps.amin((2, 3))).all()
    assert not torch.allclose(maps[0], maps[1])
    torch.testing.assert_close(tower.attention(x, [3, 1]), maps[:, [2, 0]])


def test_tokens_are_the_trunks_own(tower: Tower, astronaut: Tensor) -> None:
    x = tower.prepare(astronaut)
    tokens = tower.tokens(x, [0, 2, 4, LAST])
    n = tower.prefix + tower.grid[0] * tower.grid[1]
    assert list(tokens) == [0, 2, 4, LAST]
    assert all(t.shape == (1, n, tower.width) for t in tokens.values())
    for k in (1, 2):
        torch.testing.assert_close(
            blocks_of(tower)[k - 1](tower.tokens(x, [k - 1])[k - 1]), tower.tokens(x, [k])[k]
        )
    if isinstance(tower.trunk, VisionTransformer):
        torch.testing.assert_close(tokens[LAST][:, 0] @ tower.trunk.proj, tower.trunk(x))
    else:
        torch.testing.assert_close(tokens[LAST], tower.trunk.forward_features(x))


def test_gradients_reach_the_picture_and_never_the_tower(tower: Tower, astronaut: Tensor) -> None:
    tower.train()
    assert not any(m.training for m in tower.modules())
    for result in (
        lambda x: tower.attention(x, [3]).square().sum(),
        lambda x: tower.tokens(x, [2])[2].square().mean(),
        lambda x: tower.tokens(x, [LAST])[LAST].pow(3).mean(),
    ):
        picture = astronaut.clone().requires_grad_()
        result(tower.prepare(picture)).backward()
        assert picture.grad is not None
        assert (picture.grad.abs().sum((0, 1)) > 0).float().mean() > 0.9
    assert all(p.grad is None and not p.requires_grad for p in tower.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_tower_sees_what_the_full_one_sees_in_its_blocks(
    kind: str, astronaut: Tensor
) -> None:
    full, cut = KINDS[kind](), KINDS[kind]().keep(2)
    x = full.prepare(astronaut)
    assert torch.equal(cut.attention(x, 2), full.attention(x, 2))
    assert torch.equal(cut.tokens(x, [2])[2], full.tokens(x, [2])[2])
    assert cut.depth == 2
    size, cut_size, dropped = (
        sum(p.numel() for p in m.parameters())
        for m in (full, cut, nn.ModuleList(blocks_of(full)[2:]))
    )
    assert cut_size < size - dropped
    for refused in (
        lambda: cut.attention(x, 3),
        lambda: cut.tokens(x, [LAST]),
        lambda: cut.classify(x),
    ):
        with pytest.raises(UnsupportedTower, match="first 2 blocks"):
            refused()


def test_hooks_and_kernels_are_as_before_also_after_an_error(
    tower: Tower, astronaut: Tensor
) -> None:
    x = tower.prepare(astronaut)
    fused = [getattr(b.attn, "fused_attn", None) for b in blocks_of(tower)]
    tower.attention(x)
    tower.tokens(x, [0, 1, LAST])
    broken = blocks_of(tower)[1].register_forward_pre_hook(lambda module, args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tower.attention(x)
    broken.remove()
    assert hooks(tower) == 0
    assert fused == [getattr(b.attn, "fused_attn", None) for b in blocks_of(tower)]
    tower.attention(x)


def test_two_threads_at_once_get_the_right_answers(tower: Tower, astronaut: Tensor) -> None:
    pictures = [tower.prepare(torch.rot90(astronaut, turn, (2, 3))) for turn in range(4)]
    alone = [(tower.attention(x, 2), tower.tokens(x, [LAST])[LAST]) for x in pictures]
    with ThreadPoolExecutor(2) as pool:
        together = list(
            pool.map(lambda x: (tower.attention(x, 2), tower.tokens(x, [LAST])[LAST]), pictures * 5)
        )
    for i, (attention, tokens) in enumerate(together):
        assert torch.equal(attention, alone[i % 4][0])
        assert torch.equal(tokens, alone[i % 4][1])


def test_prepare_squashes_and_normalizes(tower: Tower, astronaut: Tensor) -> None:
    x = tower.prepare(astronaut[..., :256])
    assert x.shape == (1, 3, *tower.size)
    pixels = x * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    torch.testing.assert_close(
        pixels.mean((0, 2, 3)), astronaut[..., :256].mean((0, 2, 3)), atol=0.01, rtol=0
    )
    exact = astronaut[..., :64, :64]
    torch.testing.assert_close(tower.prepare(exact), tower.normalize(exact))


def test_wrong_arguments_are_named(tower: Tower, astronaut: Tensor) -> None:
    x = tower.prepare(astronaut)
    for refused in (
        lambda: tower.attention(x, 0),
        lambda: tower.attention(x, [0]),
        lambda: tower.attention(x, 5),
        lambda: tower.attention(astronaut),
        lambda: tower.tokens(x, [-2]),
        lambda: tower.prepare(astronaut[0]),
        lambda: KINDS["timm"]().keep(0),
    ):
        with pytest.raises(BadArgument):
            refused()


def test_classes_only_where_there_is_a_classifier(astronaut: Tensor) -> None:
    tower = timm_tower()
    x = tower.prepare(astronaut)
    assert tower.classify(x).shape == (1, 10)
    tokens, logits = tower.tokens_and_classes(x, [0, 1, LAST])
    assert torch.equal(logits, tower.classify(x))
    assert all(torch.equal(v, tower.tokens(x, [k])[k]) for k, v in tokens.items())
    assert hooks(tower) == 0
    for other in (clip_tower(), siglip_tower()):
        with pytest.raises(UnsupportedTower, match="no classifier"):
            other.classify(x)


def test_attention_of_another_kind_is_refused_by_name(astronaut: Tensor) -> None:
    custom = clip_tower(block_type="custom")
    x = custom.prepare(astronaut)
    with pytest.raises(UnsupportedTower, match="Attention"):
        custom.attention(x)
    assert hooks(custom) == 0
    assert custom.tokens(x, [LAST])[LAST].shape == (1, 17, 48)
    with pytest.raises(UnsupportedTower, match="ResNet"):
        load_tower("timm:resnet18", "random")
    with pytest.raises(UnsupportedTower, match="RN50"):
        load_tower("RN50", "random")


def test_register_tokens_are_no_patches(astronaut: Tensor) -> None:
    tower = timm_tower(reg_tokens=3)
    assert tower.prefix == 4
    check_attention(tower, tower.prepare(astronaut), 2)


def test_published_weights_bring_their_activation_and_colours_and_need_no_network_once_cached(
    small_clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, astronaut: Tensor
) -> None:
    tag = {"hf_hub": "some/tower/", "mean": MEAN, "std": STD, "quick_gelu": True}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, small_clip, {"published": tag})
    path = tmp_path / "open_clip_model.safetensors"
    save_file(
        {f"visual.{k}": v for k, v in load_tower(small_clip, "random").trunk.state_dict().items()},
        path,
    )
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(
        "huggingface_hub.try_to_load_from_cache",
        lambda repo, file: str(path) if file == path.name else None,
    )
    published, plain = load_tower(small_clip), load_tower(small_clip, str(path))
    assert (published.mean, published.std) == (MEAN, STD)
    assert isinstance(blocks_of(published)[0].mlp.gelu, QuickGELU)
    assert isinstance(blocks_of(plain)[0].mlp.gelu, nn.GELU)
    x = published.prepare(astronaut)
    assert torch.equal(published.attention(x, 1), plain.attention(x, 1))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_an_open_clip_tower_from_a_file(
    small_clip: str, suffix: str, tmp_path: Path, astronaut: Tensor
) -> None:
    full = load_tower(small_clip, "random")
    state = {f"visual.{k}": v.half() for k, v in full.trunk.state_dict().items()} | {
        "logit_scale": torch.ones(())
    }
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save({"state_dict": state}, path)
    full.trunk.load_state_dict(
        {k.removeprefix("visual."): v.float() for k, v in state.items() if k.startswith("visual.")}
    )
    loaded, cut = load_tower(small_clip, str(path)), load_tower(small_clip, str(path), layers=2)
    x = full.prepare(astronaut)
    torch.testing.assert_close(loaded.tokens(x, [LAST]), full.tokens(x, [LAST]))
    torch.testing.assert_close(cut.attention(x, 2), full.attention(x, 2))
    assert (loaded.depth, cut.depth, cut.complete) == (4, 2, False)

    wide = load_tower(small_clip, str(path), size=(64, 96))
    assert wide.grid == (4, 6)
    assert wide.attention(wide.prepare(astronaut), 1).shape == (1, 1, 4, 6)
    torch.testing.assert_close(
        wide.trunk.positional_embedding[0], full.trunk.positional_embedding[0]
    )
    with pytest.raises(UnsupportedTower, match="multiples of 16"):
        load_tower(small_clip, "random", size=100)

    del state["visual.ln_post.weight"]
    torch.save(state, tmp_path / "less.pt")
    with pytest.raises(UnknownModel, match="not those of"):
        load_tower(small_clip, str(tmp_path / "less.pt"))


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="no file"):
        load_tower("timm:deit_tiny_patch16_224", str(tmp_path / "missing.safetensors"))
    for name in ("text.safetensors", "text.pt"):
        (tmp_path / name).write_text("no weights")
        with pytest.raises(UnknownModel, match="neither"):
            load_tower("timm:deit_tiny_patch16_224", str(tmp_path / name))
    torch.save(nn.Linear(2, 2), tmp_path / "module.pt")  # needs pickled code
    with pytest.raises(UnknownModel, match="neither"):
        load_tower("timm:deit_tiny_patch16_224", str(tmp_path / "module.pt"))


def test_unknown_names() -> None:
    for name in ("ViT-Q-99", "timm:vit_of_no_one"):
        with pytest.raises(UnknownModel, match="has no model"):
            load_tower(name, "random")
    for name in ("ViT-L-14-336", "timm:deit_tiny_patch16_224"):
        with pytest.raises(GuideUnavailable, match="student"):
            load_tower(name, "nonsense")


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("ViT-L-14-336", "openai"),
        ("ViT-B-16-SigLIP", None),
        ("RN50", "yfcc15m"),
        ("timm:vit_tiny_patch16_224", None),
    ],
)
def test_without_a_network_the_sentence_names_what_works(
    name: str,
    weights: str | None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    if name == "RN50":
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED["RN50"]["yfcc15m"], "hf_hub", "")
        monkeypatch.setitem(
            open_clip.pretrained._PRETRAINED["RN50"]["yfcc15m"],
            "url",
            "http://127.0.0.1:9/weights.pt",
        )
    start = time.monotonic()
    with pytest.raises(GuideUnavailable, match="guide='student'") as caught:
        load_tower(name, weights)
    assert time.monotonic() - start < 8
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("package", "name"), [("open_clip", "ViT-B-16"), ("timm", "timm:deit_tiny_patch16_224")]
)
def test_a_missing_package_is_named(
    package: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        GuideUnavailable, match=rf"{package} is not installed \(pip install 'cotam\[clip\]'\)"
    ):
        load_tower(name, "random")


def test_deit_at_random_and_at_another_size(astronaut: Tensor) -> None:
    tower = load_tower("timm:deit_tiny_patch16_224", "random", layers=3, size=(224, 336))
    assert (tower.grid, tower.depth, tower.width, tower.patch, tower.prefix) == (
        (14, 21),
        3,
        192,
        16,
        1,
    )
    assert tower.mean == pytest.approx((0.485, 0.456, 0.406))
    check_attention(tower, tower.prepare(astronaut), 2)


def test_deit_with_its_real_weights(
    data_folder: Path, photo: np.ndarray, astronaut: Tensor
) -> None:
    path = data_folder / "weights" / "deit_tiny_patch16_224.safetensors"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in COTAM_DATA")
    tower = load_tower("timm:deit_tiny_patch16_224", str(path))
    cat = tower.prepare(torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float() / 255)
    assert int(tower.classify(cat).argmax()) in {281, 282, 285}  # tabby, tiger cat, Egyptian cat
    check_attention(tower, tower.prepare(astronaut), 3)
    assert timm.create_model("deit_tiny_patch16_224").load_state_dict(tower.trunk.state_dict())


@pytest.mark.slow
def test_clip_b16_at_random(astronaut: Tensor) -> None:
    tower = load_tower("ViT-B-16", "random")
    assert (tower.size, tower.grid, tower.depth, tower.width) == ((224, 224), (14, 14), 12, 768)
    assert tower.mean == pytest.approx(open_clip.OPENAI_DATASET_MEAN)
    x = tower.prepare(astronaut)
    check_attention(tower, x, 3)
    torch.testing.assert_close(
        tower.tokens(x, [LAST])[LAST][:, 0] @ tower.trunk.proj, tower.trunk(x)
    )


@pytest.mark.slow
def test_siglip_b16_at_random(astronaut: Tensor) -> None:
    tower = load_tower("ViT-B-16-SigLIP", "random")
    assert (tower.grid, tower.class_token, tower.prefix) == ((14, 14), False, 0)
    assert tower.mean == (0.5, 0.5, 0.5)
    x = tower.prepare(astronaut)
    check_attention(tower, x, 3)
    torch.testing.assert_close(tower.tokens(x, [LAST])[LAST], tower.trunk.forward_features(x))
    wide = load_tower("ViT-B-16-SigLIP", "random", layers=1, size=(160, 256))
    assert wide.attention(wide.prepare(astronaut), 1).shape == (1, 1, 10, 16)
