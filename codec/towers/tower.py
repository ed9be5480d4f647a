"""One interface over the vision transformers of open_clip and timm.

::

    pictures -> prepare -> embedding (layer 0) -> block 1 .. block `depth` -> final norm (LAST)
                                                  |                           |
                                                  attention                   tokens, classes
"""

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

LAST = -1  # the layer after the trunk's final norm
Repairs = Mapping[int, Callable[[Tensor], Tensor]]  # layer -> (its tokens -> what to add to them)


class _Enough(Exception):
    """Ends a forward pass when no deeper block is needed."""


def _stop(module: nn.Module, args: Any, output: Any) -> None:
    raise _Enough


def squashed(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize pictures without keeping their proportions.

    Args:
        pictures: [B, 3, H, W] in 0..1.
        size: (rows, columns) of the result.

    Returns:
        [B, 3, rows, columns] in 0..1, by antialiased bicubic interpolation.
    """
    if tuple(pictures.shape[-2:]) == size:
        return pictures
    resized = F.interpolate(pictures, size, mode="bicubic", antialias=True, align_corners=False)
    return resized.clamp(0, 1)


class Tower(nn.Module):
    """A frozen vision transformer.

    Every result is differentiable with respect to the pictures. Blocks count from 1; layer 0 is the
    embedding, layer k the output of block k, LAST the output of the final norm. Several threads may
    use one tower; it serves them one after another.

    Args:
        name: as given to `load_tower`.
        trunk: the vision transformer.
        anatomy: where its parts are.
        mean: of the input per channel, for pictures in 0..1.
        std: of the input per channel, for pictures in 0..1.

    Attributes:
        size: (rows, columns) of the input in pixels.
        grid: (rows, columns) of the input in patches.
        patch: side of a patch in pixels.
        width: channels of a token.
        class_token: whether there is a class token.
        prefix: tokens before the patches; the class token, if there is one, comes first.
        complete: whether the tower has all blocks, its final norm and its head; False after `keep`.
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
        # A lock cannot be pickled.
        return self.__dict__ | {"_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._lock = Lock()

    @property
    def depth(self) -> int:
        """Number of blocks that the tower still has."""
        return len(self._blocks())

    @property
    def signature(self) -> str:
        """Identifies the tower's weights (towers.signature)."""
        return signature(self.trunk)

    def train(self, mode: bool = True) -> Tower:
        """Stay in evaluation mode, even as a part of a model in training."""
        # A model in training switches its modules to training mode, and dropout would change the
        # targets.
        return super().train(False)

    def normalize(self, x: Tensor) -> Tensor:
        """Remove the tower's mean and deviation from pictures [B, 3, H, W] in 0..1."""
        return (x - self.mean_values) / self.std_values

    def prepare(self, pictures: Tensor) -> Tensor:
        """Turn pictures into the tower's input.

        The whole picture is resized to `size` without keeping its proportions. Nothing is cropped,
        so that every pixel has a place on the grid.

        Args:
            pictures: [B, 3, H, W] in 0..1.

        Returns:
            [B, 3, h, w], normalized.

        Raises:
            BadArgument: the shape is another one.
        """
        if pictures.ndim != 4 or pictures.shape[1] != 3:
            raise BadArgument(f"pictures must be [B, 3, H, W], not {list(pictures.shape)}")
        return self.normalize(squashed(pictures, self.size))

    def attention(
        self, x: Tensor, layers: int | Sequence[int] = 3, received: bool = False
    ) -> Tensor:
        """Read the attention of blocks.

        In towers with a class token this is the attention of the class token's query to each patch;
        in others, the attention that each patch receives, averaged over all queries. Blocks after
        the deepest of `layers` do not run.

        Args:
            x: [B, 3, h, w] from `prepare`.
            layers: blocks 1..layers, or a list of blocks.
            received: return the attention that each patch receives also where there is a class
                token.

        Returns:
            [B, layers, rows, columns], averaged over the heads and not renormalised: values in
            0..1 that sum over the patches to at most 1.

        Raises:
            BadArgument: a block or a shape is out of range.
            UnsupportedTower: a block was cut, or its attention cannot be read.
        """
        numbers = list(range(1, layers + 1)) if isinstance(layers, int) else list(layers)
        self._check(x, numbers, lowest=1)
        blocks = self._blocks()
        attention: dict[int, Tensor] = {}
        with self._lock, ExitStack() as stack:
            for k in set(numbers):
                receive = partial(attention.__setitem__, k)
                stack.enter_context(self._anatomy.catch(blocks[k - 1], receive))
            self._run_until(blocks[max(numbers) - 1], x)
        return torch.stack([self._onto_grid(attention[k], received) for k in numbers], 1)

    def tokens(self, x: Tensor, layers: Sequence[int]) -> dict[int, Tensor]:
        """Compute the tokens of layers; runs only what the deepest layer needs.

        Args:
            x: [B, 3, h, w] from `prepare`.
            layers: 0 for the embedding that enters the first block, k for the output of block k,
                LAST (-1) for the output of the trunk's final norm.

        Returns:
            Layer -> tokens [B, prefix + rows * columns, width].

        Raises:
            BadArgument: a layer or a shape is out of range.
            UnsupportedTower: a layer was cut, or LAST in a trunk that normalises after pooling.
        """
        numbers = set(layers)
        self._check_tokens(x, numbers)
        with self._lock, self._catching(numbers) as tokens:
            self._run_until(self._module_of(LAST if LAST in numbers else max(1, *numbers)), x)
        return self._caught(tokens, layers)

    def tokens_and_classes(
        self, x: Tensor, layers: Sequence[int]
    ) -> tuple[dict[int, Tensor], Tensor]:
        """Compute the results of `tokens` and `classify` in one pass.

        Args:
            x: [B, 3, h, w] from `prepare`.
            layers: as `tokens` takes them.

        Returns:
            tokens: as `tokens` returns them.
            logits: [B, classes].

        Raises:
            BadArgument: as `tokens` raises.
            UnsupportedTower: as `tokens` or `classify` raises.
        """
        self._check_tokens(x, set(layers))
        self._need_classes()
        with self._lock, self._catching(set(layers)) as tokens:
            logits = self.trunk(x)
        return self._caught(tokens, layers), logits

    def continued(
        self, tokens: Tensor, layers: Sequence[int], after: int = 0, repairs: Repairs | None = None
    ) -> dict[int, Tensor]:
        """Run the tower from given tokens of a layer on.

        Args:
            tokens: [B, prefix + patches, width], used as the tokens of layer `after`. There may be
                fewer patches than the grid has.
            layers: the layers to return, `after` or deeper.
            after: the layer of `tokens`; 0 is the embedding.
            repairs: by layer, what to add to the tokens of deeper layers on the way.

        Returns:
            Layer -> tokens, as `tokens` returns them.

        Raises:
            BadArgument: the shape is another one, or a layer comes before `after`.
            UnsupportedTower: as `tokens` raises.
        """
        deeper = [k for k in layers if k != after]
        if before := [k for k in deeper if after == LAST or 0 <= k < after]:
            raise BadArgument(f"{self.name} cannot go back from layer {after} to {before[0]}")
        if after == LAST:
            return dict.fromkeys(layers, tokens)
        with self._entering(tokens, after) as blank, self._repairing(repairs):
            later_tokens = self.tokens(blank, deeper) if deeper else {}
        return {k: tokens if k == after else later_tokens[k] for k in layers}

    def continued_and_classes(
        self, tokens: Tensor, layers: Sequence[int], repairs: Repairs | None = None
    ) -> tuple[dict[int, Tensor], Tensor]:
        """Compute the results of `continued` from the embedding on, and the classes, in one pass.

        Args:
            tokens: as `continued` takes them, of layer 0.
            layers: as `continued` takes them.
            repairs: as `continued` takes them.

        Returns:
            tokens: as `continued` returns them.
            logits: [B, classes].

        Raises:
            BadArgument: as `continued` raises.
            UnsupportedTower: as `continued` or `classify` raises.
        """
        with self._entering(tokens, 0) as blank, self._repairing(repairs):
            return self.tokens_and_classes(blank, layers)

    def classify_tokens(self, tokens: Tensor, after: int = 0) -> Tensor:
        """Classify from given tokens of a layer on.

        Args:
            tokens: as `continued` takes them.
            after: the layer of `tokens`.

        Returns:
            Logits [B, classes].

        Raises:
            BadArgument: the shape is another one.
            UnsupportedTower: the tower has no classifier.
        """
        with self._entering(tokens, after) as blank:
            return self.classify(blank)

    @contextmanager
    def _repairing(self, repairs: Repairs | None) -> Iterator[None]:
        """Add each layer's repair to the tokens that leave it, while the context is open."""
        with ExitStack() as stack:
            for layer, repair in (repairs or {}).items():
                hook = self._module_of(layer).register_forward_hook(
                    lambda module, args, out, add=repair: out + add(out)
                )
                stack.callback(hook.remove)
            yield

    def _module_of(self, layer: int) -> nn.Module:
        """Return the module that outputs a layer's tokens. Raises BadArgument for the embedding."""
        if layer == LAST:
            return self.trunk.get_submodule(self._anatomy.norm)
        if not 1 <= layer <= self.depth:
            raise BadArgument(
                f"{self.name} has layers 1..{self.depth} after its embedding, not {layer}"
            )
        return self._blocks()[layer - 1]

    @contextmanager
    def _entering(self, tokens: Tensor, after: int) -> Iterator[Tensor]:
        """Replace the input of the block after a layer. Raises BadArgument.

        Yields:
            A blank picture to run the tower on.
        """
        if not 0 <= after < self.depth:
            raise BadArgument(
                f"{self.name} continues after layers 0..{self.depth - 1}, not {after}"
            )
        if tokens.ndim != 3 or tokens.shape[1] <= self.prefix or tokens.shape[2] != self.width:
            raise BadArgument(
                f"{self.name} continues from [B, {self.prefix} + patches, {self.width}], "
                f"not {list(tokens.shape)}"
            )

        def replace(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            return tokens, *args[1:]

        handle = self._blocks()[after].register_forward_pre_hook(replace)
        try:
            # Its embedding is computed and then replaced by the tokens.
            yield tokens.new_zeros((len(tokens), 3, *self.size))
        finally:
            handle.remove()

    def classify(self, x: Tensor) -> Tensor:
        """Classify pictures.

        Args:
            x: [B, 3, h, w] from `prepare`.

        Returns:
            Logits [B, classes].

        Raises:
            BadArgument: the shape is another one.
            UnsupportedTower: the tower has no classifier, or it was cut.
        """
        self._check(x, [], lowest=0, some=False)
        self._need_classes()
        with self._lock:
            return self.trunk(x)

    def pooled(self, x: Tensor) -> Tensor:
        """Compute one feature per picture.

        Args:
            x: [B, 3, h, w] from `prepare`.

        Returns:
            [B, D], pooled, and projected if the tower projects.

        Raises:
            BadArgument: the shape is another one.
            UnsupportedTower: the tower was cut.
        """
        self._check(x, [], lowest=0, some=False)
        self._need_all("pooled feature")
        with self._lock:
            return self._anatomy.pool(self.trunk, x)

    def pooled_tokens(self, tokens: Tensor, after: int = 0) -> Tensor:
        """Compute one feature per picture from given tokens of a layer on.

        Args:
            tokens: as `continued` takes them.
            after: the layer of `tokens`.

        Returns:
            As `pooled` returns it.

        Raises:
            BadArgument: the shape is another one.
            UnsupportedTower: the tower was cut.
        """
        with self._entering(tokens, after) as blank:
            return self.pooled(blank)

    def keep(self, layers: int) -> Tower:
        """Drop all blocks after the first ones, the final norm and the head.

        Args:
            layers: how many blocks to keep.

        Returns:
            The tower itself.

        Raises:
            BadArgument: the tower does not have this many blocks.
        """
        if not 1 <= layers <= self.depth:
            raise BadArgument(f"{self.name} has blocks 1..{self.depth}, so it cannot keep {layers}")
        with self._lock:
            trunk: Any = self.trunk
            trunk.prune_intermediate_layers([layers - 1], prune_norm=True, prune_head=True)
            self.complete = False
        return self

    def _blocks(self) -> list[nn.Module]:
        return list(self.trunk.get_submodule(self._anatomy.blocks).children())

    @contextmanager
    def _catching(self, layers: set[int]) -> Iterator[dict[int, Tensor]]:
        """Collect the tokens of layers during a forward pass.

        Yields:
            Layer -> tokens, filled by the forward pass.
        """
        tokens: dict[int, Tensor] = {}
        with ExitStack() as stack:
            if 0 in layers:
                hook = self._blocks()[0].register_forward_pre_hook(
                    lambda module, args: tokens.__setitem__(0, args[0])
                )
                stack.callback(hook.remove)
            for k in layers - {0}:
                hook = self._module_of(k).register_forward_hook(
                    lambda module, args, output, k=k: tokens.__setitem__(k, output)
                )
                stack.callback(hook.remove)
            yield tokens

    def _caught(self, tokens: dict[int, Tensor], layers: Sequence[int]) -> dict[int, Tensor]:
        """Return the tokens in the order of `layers`. Raises UnsupportedTower without LAST."""
        if LAST in tokens and (tokens[LAST].ndim != 3 or tokens[LAST].shape[1] <= self.prefix):
            raise UnsupportedTower(
                f"{self.name} normalises after pooling, so it has no tokens after the final norm"
            )
        return {k: tokens[k] for k in layers}

    def _run_until(self, module: nn.Module, x: Tensor) -> None:
        """Run the trunk up to a module, so that deeper blocks cost nothing."""
        # Registered after the hooks that collect tokens, so that these have run when it raises.
        handle = module.register_forward_hook(_stop)
        try:
            self.trunk(x)
        except _Enough:
            pass
        finally:
            handle.remove()

    def _onto_grid(self, attention: Tensor, received: bool) -> Tensor:
        from_class = self.class_token and not received
        values = attention[:, 0] if from_class else attention.mean(1)
        return values[:, self.prefix :].unflatten(1, self.grid)

    def _check(self, x: Tensor, layers: Sequence[int], lowest: int, some: bool = True) -> None:
        if x.ndim != 4 or tuple(x.shape[1:]) != (3, *self.size):
            raise BadArgument(
                f"{self.name} takes [B, 3, {self.size[0]}, {self.size[1]}], "
                f"not {list(x.shape)}: see prepare"
            )
        if some and not layers:
            raise BadArgument("name at least one layer")
        for k in layers:
            if k > self.depth and not self.complete:
                raise UnsupportedTower(
                    f"{self.name} was loaded with its first {self.depth} blocks only, "
                    f"so block {k} is missing"
                )
            if not lowest <= k <= self.depth:
                raise BadArgument(f"{self.name} has layers {lowest}..{self.depth}, not {k}")

    def _check_tokens(self, x: Tensor, layers: set[int]) -> None:
        self._check(x, [k for k in layers if k != LAST], lowest=0, some=LAST not in layers)
        if LAST in layers:
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
