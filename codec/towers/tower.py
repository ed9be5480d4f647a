"""One interface over the vision transformers of open_clip and timm: their attention, their tokens, their classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.errors import BadArgument, UnsupportedTower
from codec.towers.anatomy import Anatomy
from codec.towers.signature import signature

LAST = -1
Repairs = Mapping[int, Callable[[Tensor], Tensor]]  # layer -> (its tokens -> what is added to them)


class _Enough(Exception):
    """Ends a forward pass where nothing deeper is wanted."""


def _stop(module: nn.Module, args: Any, output: Any) -> None:
    raise _Enough


def squashed(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures [B, 3, H, W] in 0..1 at another size (rows, columns), whatever their proportions: bicubic, antialiased, clipped."""
    if tuple(pictures.shape[-2:]) == size:
        return pictures
    return F.interpolate(pictures, size, mode="bicubic", antialias=True, align_corners=False).clamp(
        0, 1
    )


class Tower(nn.Module):
    """A frozen vision transformer; every result is differentiable with respect to the pictures.

    name: as given to `load_tower`; size: (rows, columns) of its input in pixels; grid: the same in patches;
    patch: side of a patch in pixels; width: channels of a token; depth: blocks held; class_token: whether it has one;
    prefix: tokens before the patches, the class token first; mean, std: of its input, per channel, for pictures in 0..1;
    complete: False once it was cut by `keep`. Blocks count from 1. One tower may serve several threads, one at a time.
    """

    mean_values: Tensor
    std_values: Tensor

    def __init__(
        self,
        name: str,
        trunk: nn.Module,
        anatomy: Anatomy,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.name = name
        self.trunk = trunk
        self.size = anatomy.size
        self.grid = anatomy.grid
        self.patch = anatomy.patch
        self.width = anatomy.width
        self.class_token = anatomy.class_token
        self.prefix = anatomy.prefix
        self.mean = tuple(map(float, mean))
        self.std = tuple(map(float, std))
        self.complete = True
        self._anatomy = anatomy
        self._lock = Lock()
        self.register_buffer(
            "mean_values", torch.tensor(self.mean).view(1, -1, 1, 1), persistent=False
        )
        self.register_buffer(
            "std_values", torch.tensor(self.std).view(1, -1, 1, 1), persistent=False
        )
        self.requires_grad_(False).eval()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._lock = Lock()

    @property
    def depth(self) -> int:
        """How many blocks are held."""
        return len(self._blocks())

    @property
    def signature(self) -> str:
        """Which tower's weights these are (signature.signature)."""
        return signature(self.trunk)

    def train(self, mode: bool = True) -> Tower:
        """Stays in evaluation mode, also as a part of a model in training."""
        return super().train(False)

    def normalize(self, x: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in 0..1 -> the same with the tower's mean and deviation removed."""
        return (x - self.mean_values) / self.std_values

    def prepare(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in 0..1 -> the tower's input [B, 3, h, w].

        The whole picture is squashed to `size` (bicubic, antialiased, clipped to 0..1) whatever its proportions: nothing is
        cropped, so that every pixel has a place on the grid. Raises BadArgument for another shape.
        """
        if pictures.ndim != 4 or pictures.shape[1] != 3:
            raise BadArgument(f"pictures must be [B, 3, H, W], not {list(pictures.shape)}")
        return self.normalize(squashed(pictures, self.size))

    def attention(self, x: Tensor, layers: int | Sequence[int] = 3) -> Tensor:
        """x [B, 3, h, w] from `prepare` -> attention [B, layers, rows, columns], averaged over the heads, not renormalised.

        What the class token's query gives to each patch in blocks 1..layers (or in the blocks listed); in towers without a
        class token, what each patch receives on average over all queries. Values lie in 0..1 and sum over the patches to at
        most 1. Only blocks up to the deepest wanted run. Raises BadArgument for blocks or shapes out of range, UnsupportedTower
        for a block that was cut or whose attention cannot be read.
        """
        wanted = list(range(1, layers + 1)) if isinstance(layers, int) else list(layers)
        self._check(x, wanted, lowest=1)
        blocks = self._blocks()
        caught: dict[int, Tensor] = {}
        with self._lock, ExitStack() as stack:
            for k in set(wanted):
                stack.enter_context(
                    self._anatomy.catch(blocks[k - 1], partial(caught.__setitem__, k))
                )
            self._run_until(blocks[max(wanted) - 1], x)
        return torch.stack([self._onto_grid(caught[k]) for k in wanted], 1)

    def tokens(self, x: Tensor, layers: Sequence[int]) -> dict[int, Tensor]:
        """x [B, 3, h, w] from `prepare` -> {layer: tokens [B, prefix + rows * columns, width]}.

        Layer 0 is the embedding that enters the first block, k the output of block k, `LAST` (-1) the output of the trunk's
        final norm. Only what the deepest layer needs is run. Raises BadArgument for layers or shapes out of range,
        UnsupportedTower for layers that were cut, and for LAST where the trunk normalises after its pooling.
        """
        wanted = set(layers)
        self._check_tokens(x, wanted)
        with self._lock, self._catching(wanted) as found:
            self._run_until(self._module_of(LAST if LAST in wanted else max(1, *wanted)), x)
        return self._caught(found, layers)

    def tokens_and_classes(
        self, x: Tensor, layers: Sequence[int]
    ) -> tuple[dict[int, Tensor], Tensor]:
        """What `tokens` and `classify` give, in one pass. Raises as both do."""
        self._check_tokens(x, set(layers))
        self._need_classes()
        with self._lock, self._catching(set(layers)) as found:
            logits = self.trunk(x)
        return self._caught(found, layers), logits

    def continued(
        self, tokens: Tensor, layers: Sequence[int], after: int = 0, repairs: Repairs | None = None
    ) -> dict[int, Tensor]:
        """Tokens [B, prefix + patches, width] in the place of layer `after` -> those of it and deeper ones, as `tokens` gives them.

        Layer 0 is the embedding; patches may be fewer than the grid has. repairs: what is added to the tokens of deeper layers on
        the way. Raises BadArgument for another shape or a layer before `after`, and as `tokens` does.
        """
        deeper = [k for k in layers if k != after]
        if before := [k for k in deeper if after == LAST or 0 <= k < after]:
            raise BadArgument(f"{self.name} cannot go back from layer {after} to {before[0]}")
        if after == LAST:
            return dict.fromkeys(layers, tokens)
        with self._entering(tokens, after) as blank, self._repairing(repairs):
            found = self.tokens(blank, deeper) if deeper else {}
        return {k: tokens if k == after else found[k] for k in layers}

    def continued_and_classes(
        self, tokens: Tensor, layers: Sequence[int], repairs: Repairs | None = None
    ) -> tuple[dict[int, Tensor], Tensor]:
        """What `continued` gives from the embedding on, and logits [B, classes], in one pass. Raises as it and `classify` do."""
        with self._entering(tokens, 0) as blank, self._repairing(repairs):
            return self.tokens_and_classes(blank, layers)

    def classify_tokens(self, tokens: Tensor, after: int = 0) -> Tensor:
        """Tokens as `continued` takes them -> logits [B, classes]. Raises BadArgument and as `classify` does."""
        with self._entering(tokens, after) as blank:
            return self.classify(blank)

    @contextmanager
    def _repairing(self, repairs: Repairs | None) -> Iterator[None]:
        """These layers' tokens leave them with something added."""
        with ExitStack() as stack:
            for layer, repair in (repairs or {}).items():
                hook = self._module_of(layer).register_forward_hook(
                    lambda module, args, out, add=repair: out + add(out)
                )
                stack.callback(hook.remove)
            yield

    def _module_of(self, layer: int) -> nn.Module:
        """What puts out a layer's tokens; the embedding has no module of its own. Raises BadArgument."""
        if layer == LAST:
            return self.trunk.get_submodule(self._anatomy.norm)
        if not 1 <= layer <= self.depth:
            raise BadArgument(
                f"{self.name} has layers 1..{self.depth} after its embedding, not {layer}"
            )
        return self._blocks()[layer - 1]

    @contextmanager
    def _entering(self, tokens: Tensor, after: int) -> Iterator[Tensor]:
        """These tokens enter the block after this one, whatever the picture; gives a picture to run. Raises BadArgument."""
        if not 0 <= after < self.depth:
            raise BadArgument(f"{self.name} goes on after layers 0..{self.depth - 1}, not {after}")
        if tokens.ndim != 3 or tokens.shape[1] <= self.prefix or tokens.shape[2] != self.width:
            raise BadArgument(
                f"{self.name} continues from [B, {self.prefix} + patches, {self.width}], not {list(tokens.shape)}"
            )

        def instead(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            return tokens, *args[1:]

        handle = self._blocks()[after].register_forward_pre_hook(instead)
        try:
            yield tokens.new_zeros((len(tokens), 3, *self.size))
        finally:
            handle.remove()

    def classify(self, x: Tensor) -> Tensor:
        """x [B, 3, h, w] from `prepare` -> logits [B, classes]. Raises UnsupportedTower without a classifier."""
        self._check(x, [], lowest=0, some=False)
        self._need_classes()
        with self._lock:
            return self.trunk(x)

    def pooled(self, x: Tensor) -> Tensor:
        """x [B, 3, h, w] from `prepare` -> one feature [B, D], pooled, and projected where the tower does."""
        self._check(x, [], lowest=0, some=False)
        self._need_all("pooled feature")
        with self._lock:
            return self._anatomy.pool(self.trunk, x)

    def keep(self, layers: int) -> Tower:
        """Drops all blocks after the first `layers`, the final norm and the head; returns itself. Raises BadArgument."""
        if not 1 <= layers <= self.depth:
            raise BadArgument(f"{self.name} has blocks 1..{self.depth}, it cannot keep {layers}")
        with self._lock:
            trunk: Any = self.trunk
            trunk.prune_intermediate_layers([layers - 1], prune_norm=True, prune_head=True)
            self.complete = False
        return self

    def _blocks(self) -> list[nn.Module]:
        return list(self.trunk.get_submodule(self._anatomy.blocks).children())

    @contextmanager
    def _catching(self, wanted: set[int]) -> Iterator[dict[int, Tensor]]:
        """Fills the dictionary with the tokens of these layers as a picture passes them."""
        found: dict[int, Tensor] = {}
        with ExitStack() as stack:
            if 0 in wanted:
                hook = self._blocks()[0].register_forward_pre_hook(
                    lambda module, args: found.__setitem__(0, args[0])
                )
                stack.callback(hook.remove)
            for k in wanted - {0}:
                hook = self._module_of(k).register_forward_hook(
                    lambda module, args, output, k=k: found.__setitem__(k, output)
                )
                stack.callback(hook.remove)
            yield found

    def _caught(self, found: dict[int, Tensor], layers: Sequence[int]) -> dict[int, Tensor]:
        if LAST in found and (found[LAST].ndim != 3 or found[LAST].shape[1] <= self.prefix):
            raise UnsupportedTower(
                f"{self.name} normalises after pooling, it has no tokens after the final norm"
            )
        return {k: found[k] for k in layers}

    def _run_until(self, module: nn.Module, x: Tensor) -> None:
        handle = module.register_forward_hook(_stop)
        try:
            self.trunk(x)
        except _Enough:
            pass
        finally:
            handle.remove()

    def _onto_grid(self, attention: Tensor) -> Tensor:
        received = attention[:, 0] if self.class_token else attention.mean(1)
        return received[:, self.prefix :].unflatten(1, self.grid)

    def _check(self, x: Tensor, layers: Sequence[int], lowest: int, some: bool = True) -> None:
        if x.ndim != 4 or tuple(x.shape[1:]) != (3, *self.size):
            raise BadArgument(
                f"{self.name} takes [B, 3, {self.size[0]}, {self.size[1]}], not {list(x.shape)}: see prepare"
            )
        if some and not layers:
            raise BadArgument("at least one layer must be asked for")
        for k in layers:
            if k > self.depth and not self.complete:
                raise UnsupportedTower(
                    f"{self.name} was loaded with its first {self.depth} blocks only, block {k} is not there"
                )
            if not lowest <= k <= self.depth:
                raise BadArgument(f"{self.name} has layers {lowest}..{self.depth}, not {k}")

    def _check_tokens(self, x: Tensor, wanted: set[int]) -> None:
        self._check(x, [k for k in wanted if k != LAST], lowest=0, some=LAST not in wanted)
        if LAST in wanted:
            self._need_all("tokens after the final norm")

    def _need_classes(self) -> None:
        self._need_all("classes")
        if not self._anatomy.classes:
            raise UnsupportedTower(
                f"{self.name} has no classifier, choose a timm: tower that has one"
            )

    def _need_all(self, what: str) -> None:
        if not self.complete:
            raise UnsupportedTower(
                f"{self.name} was loaded with its first {self.depth} blocks only and has no {what}"
            )
