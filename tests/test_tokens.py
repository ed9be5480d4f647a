"""Files decoded to tokens of real towers with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import codec
from codec.errors import AdapterUnavailable, BadArgument, UnknownModel, WrongAdapter
from codec.networks.adapter import AdapterConfig, TokenAdapter, sample
from codec.tokens.adapters import FORMAT, Adapter, is_adapter, load_adapter, repaired, save_adapter
from codec.tokens.decode import latent_tensors, tokens
from codec.towers import LAST, Tower, load_tower
from codec.weights import safetensors_file

NAMES = ["timm:deit_tiny_patch16_224", "ViT-B-32", "ViT-B-16-SigLIP"]


def made_for(cotam: codec.Codec, tower: Tower, path: Path, later: Sequence[int] = ()) -> Adapter:
    """An adapter with random weights that changes tokens, saved and loaded."""
    torch.manual_seed(0)
    config = AdapterConfig(
        cotam.learned.pipeline.layers[-1].stop,
        tower.width,
        *tower.grid,
        tower.prefix,
        inner=48,
        blocks=2,
        sees=True,
    )
    networks = {layer: TokenAdapter(config) for layer in (0, *later)}
    for network in networks.values():
        torch.nn.init.normal_(network.head.weight, std=0.02)
    save_adapter(
        path,
        networks,
        {"codec": cotam.fingerprint, "tower": tower.name, "signature": tower.signature},
    )
    return load_adapter(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_tokens_are_embedding_plus_adapter(
    cotam: codec.Codec, photo: NDArray[np.uint8], tmp_path: Path, name: str
) -> None:
    tower = load_tower(name, "random")
    adapter = made_for(cotam, tower, tmp_path / "a.safetensors")
    files = [
        cotam.encode(p, tool="learned", quality=40)
        for p in (photo, photo[:100, :333], photo[:7, :9])
    ]
    found = cotam.decode_tokens(files, tower, adapter=adapter)
    patches = tower.grid[0] * tower.grid[1]
    assert found.shape == (3, tower.prefix + patches, tower.width)
    torch.testing.assert_close(
        cotam.decode_tokens(files[1], tower, adapter=tmp_path / "a.safetensors")[0], found[1]
    )
    decoded = cotam.decode_full(files[0])
    seen = tower.prepare(
        torch.from_numpy(decoded.picture.pixels.copy()).permute(2, 0, 1)[None].float() / 255
    )
    embedded = tower.tokens(seen, [0])[0]
    torch.testing.assert_close(tokens(cotam, [decoded], tower, None), embedded)
    assert 1e-4 < (found[0] - embedded[0]).abs().mean() < 10
    assert torch.isfinite(tower.continued(found, [tower.depth])[tower.depth]).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES[:2])
def test_later_layers_are_repaired_on_the_way(
    cotam: codec.Codec, photo: NDArray[np.uint8], tmp_path: Path, name: str
) -> None:
    tower = load_tower(name, "random")
    adapter = made_for(cotam, tower, tmp_path / "a.safetensors", later=(4, LAST))
    assert sorted(adapter.networks) == [LAST, 0, 4]
    data = cotam.encode(
        photo[:256, :320], tool="learned", quality=40
    )  # the latents cover exactly the picture
    entering = cotam.decode_tokens(data, tower, adapter=adapter)
    samples = sample(*latent_tensors(cotam.backend, cotam.decode_full(data)), tower.grid)
    block, last = (adapter.networks[layer] for layer in (4, LAST))
    with torch.inference_mode():
        fourth = tower.continued(entering, [4])[4]
        fourth = fourth + block(samples, fourth)
        wanted = tower.continued(fourth, [LAST], after=4)[LAST]
        wanted = wanted + last(samples, wanted)
    assert not torch.allclose(wanted, tower.continued(entering, [LAST])[LAST], atol=1e-3)
    torch.testing.assert_close(cotam.decode_tokens(data, tower, adapter=adapter, layer=4), fourth)
    torch.testing.assert_close(
        cotam.decode_tokens(data, tower, adapter=adapter, layer=LAST), wanted
    )
    tiled = cotam.decode_tokens(data, tower, adapter=adapter, tiles=(1, 2), layer=LAST)
    torch.testing.assert_close(tiled[:, 0], wanted, atol=1e-4, rtol=1e-4)
    if name.startswith("timm"):
        repairs = repaired(adapter.networks, samples, entering)[1]
        with torch.inference_mode():
            found, logits = tower.continued_and_classes(entering, [0, 4, LAST], repairs)
        torch.testing.assert_close(logits, tower.trunk.forward_head(wanted))
        torch.testing.assert_close(found, {0: entering, 4: fourth, LAST: wanted})
    torch.testing.assert_close(
        tower.continued(entering, [4])[4] + block(samples, tower.continued(entering, [4])[4]),
        fourth,
    )


def test_a_file_of_an_embedding_adapter_alone_is_read_as_before(
    cotam: codec.Codec, tmp_path: Path
) -> None:
    tower = load_tower(NAMES[0], "random")
    made = made_for(cotam, tower, tmp_path / "a.safetensors", later=(LAST,))
    arrays, metadata = safetensors_file.read(tmp_path / "a.safetensors", FORMAT, "token adapter")
    del metadata["later"]
    first = {name: array for name, array in arrays.items() if not name.startswith("later.")}
    safetensors_file.write(tmp_path / "b.safetensors", FORMAT, first, metadata)
    found = load_adapter(tmp_path / "b.safetensors").networks
    assert list(found) == [0]
    torch.testing.assert_close(found[0].state_dict(), made.networks[0].state_dict())
    assert is_adapter(tmp_path / "b.safetensors")
    assert not is_adapter(codec.weights.checkpoint.find("default"))


@pytest.mark.slow
def test_other_grids_and_tiles(
    cotam: codec.Codec, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    square = load_tower(NAMES[0], "random")
    adapter = made_for(cotam, square, tmp_path / "a.safetensors")
    data = cotam.encode(photo, tool="learned", quality=60)
    wide = load_tower(NAMES[0], "random", size=(160, 336))
    wide.trunk.load_state_dict(
        {k: v for k, v in square.trunk.state_dict().items() if "pos_embed" not in k}, strict=False
    )
    assert cotam.decode_tokens(data, wide, adapter=adapter).shape == (1, 1 + 10 * 21, 192)
    tiled = cotam.decode_tokens(data, square, adapter=adapter, tiles=(2, 3))
    assert tiled.shape == (1, 7, 197, 192)
    torch.testing.assert_close(tiled[:, 0], cotam.decode_tokens(data, square, adapter=adapter))
    one = cotam.decode_tokens(data, square, adapter=adapter, tiles=(1, 1))
    torch.testing.assert_close(one[:, 0], one[:, 1])
    left = cotam.decode_tokens(
        cotam.encode(photo[:, :150], tool="learned", quality=60),
        square,
        adapter=adapter,
        tiles=None,
    )
    halves = cotam.decode_tokens(data, square, adapter=adapter, tiles=(1, 3))
    near = (halves[0, 1] - left[0]).abs().mean()
    assert near < 0.5 * (halves[0, 3] - left[0]).abs().mean()
    with pytest.raises(BadArgument):
        cotam.decode_tokens(data, square, adapter=adapter, tiles=(0, 2))


def test_an_adapter_belongs_to_one_tower_and_one_codec(
    cotam: codec.Codec, small: NDArray[np.uint8], tmp_path: Path
) -> None:
    tower, other = load_tower(NAMES[0], "random"), load_tower(NAMES[0], "random")
    assert tower.signature != other.signature
    adapter = made_for(cotam, tower, tmp_path / "a.safetensors")
    data = cotam.encode(small, tool="learned", quality=40)
    with pytest.raises(WrongAdapter, match="tower"):
        cotam.decode_tokens(data, other, adapter=adapter)
    with pytest.raises(WrongAdapter, match="weights"):
        adapter.check("00000000", tower.signature)
    with pytest.raises(AdapterUnavailable, match="experiment=adapter"):
        cotam.decode_tokens(data, other)
    with pytest.raises(UnknownModel):
        load_adapter(codec.weights.checkpoint.find("default"))
    with pytest.raises(UnknownModel):
        cotam.decode_tokens(data, tower, adapter=tmp_path / "none.safetensors")
