"""What the processor of an attached model passes to it in addition to pixels.

Processors are not wrapped and get no attribute: a table here holds the attached ones by identity. A
copy of a processor is another object and passes pixels only.

::

    .ctm -> fetch_images -> RGB image with its latents in `info` -> preprocessed -> pixel_values
                                        \\-> views_of: where the tower looks -> cotam_latents, ...
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.ops import roi_align

import codec
from codec.api import Codec
from codec.bitstream import container
from codec.coding.latent_grid import STRIDE
from codec.errors import BadArgument
from codec.host_state import exact_arithmetic
from codec.integrations.transformers.crop_boxes import views_of
from codec.networks.adapter import sample
from codec.results import Decoded
from codec.tokens.decode import latent_tensors

LATENTS = "cotam_latents"
VIEWS = "cotam_views"
INFORMATION = "cotam_information"
KEYS = (LATENTS, VIEWS, INFORMATION)
# Key in the `info` of a decoded image, while it passes through a processor.
DECODED = "cotam_decoded"
# Views are computed once for each size of pictures; this many sizes are kept.
MOST_SIZES = 256
# Bits of a patch on which nothing was spent, so that all patches can be compared by ratios.
LEAST_BITS = 1e-3


@dataclass
class Entry:
    """An attached image processor.

    Attributes:
        owner: identifies the attachment.
        codec: the weights whose latents the adapter reads; None: each file's own.
        grid: rows and columns of the tower's patches; (0, 0) where the model wants pixels only.
        latents: whether the model wants latents.
        information: whether the model wants the bits of each patch.
    """

    owner: object
    codec: Codec | None
    grid: tuple[int, int]
    latents: bool
    information: bool
    _boxes: dict[Any, Tensor] = field(default_factory=dict)

    def image(self, file: bytes) -> Any:
        """Decode a file to an image whose `info` holds what `with_latents` needs."""
        cotam = self.codec
        if cotam is None or container.read_header(file).fingerprint.hex() != cotam.fingerprint:
            cotam = codec.load_for(file)
        decoded = cotam.decode_full(file, want_bits=self.information)
        image = Image.fromarray(decoded.to("array"))
        image.info[DECODED] = (cotam, decoded)
        return image

    def with_latents(
        self, processor: Any, images: Any, features: Any, options: dict[str, Any]
    ) -> Any:
        """Add latents and bits of `.ctm` pictures to a processor's result.

        Args:
            processor: the image processor.
            images: the pictures as fetched, in lists.
            features: its result for them; changed in place.
            options: what it was called with.

        Returns:
            `features`, with KEYS if there is a `.ctm` picture: latents
            [pictures, views, M + 1, rows, columns] (NaN where a picture has none), the number of
            views [pictures], and information [pictures, rows, columns] (1 where it is unknown).
        """
        decoded = [getattr(image, "info", {}).get(DECODED) for image in _flat(images)]
        if not (self.latents or self.information) or all(one is None for one in decoded):
            return features
        with exact_arithmetic():
            boxes = [
                None if one is None else self._views(processor, one[1], options) for one in decoded
            ]
            if self.information:
                features[INFORMATION] = torch.stack(
                    [self._spent(one, box) for one, box in zip(decoded, boxes)]
                )
            if self.latents:
                sampled = [self._sampled(one, box) for one, box in zip(decoded, boxes)]
                if any(one is not None for one in sampled):
                    rows = [len(_flat(row)) for row in images]
                    views = _view_counts(features["pixel_values"], sampled, rows)
                    features[LATENTS] = _padded(sampled, views)
                    features[VIEWS] = torch.tensor(views)
        return features

    def _views(self, processor: Any, decoded: Decoded, options: dict[str, Any]) -> Tensor:
        """Where each view of a picture lies in it, [views, 4] in 0..1."""
        size = decoded.size
        key = (size, repr(sorted(options.items(), key=lambda item: item[0])))
        boxes = self._boxes.get(key)
        if boxes is None:
            boxes = views_of(processor, *size, **options).nan_to_num(-1.0)
            if len(self._boxes) >= MOST_SIZES:
                self._boxes.clear()
            self._boxes[key] = boxes
        return boxes

    def _sampled(self, one: tuple[Codec, Decoded] | None, boxes: Tensor | None) -> Tensor | None:
        """Latents at the patches of each view, [views, M + 1, rows, columns], if there are any."""
        if one is None or boxes is None:
            return None
        cotam, decoded = one
        foreign = self.codec is not None and cotam.fingerprint != self.codec.fingerprint
        if foreign or not decoded.has_latents:
            return None
        latents, qp = latent_tensors(cotam.backend, decoded)
        return sample(latents, qp, self.grid, _in_latents(boxes, decoded))

    def _spent(self, one: tuple[Codec, Decoded] | None, boxes: Tensor | None) -> Tensor:
        """Bits at the patches of a picture's first view [rows, columns]; 1 where unknown."""
        if one is None or boxes is None or one[1].bits is None:
            return torch.ones(self.grid, dtype=torch.float32)
        bits = torch.from_numpy(one[1].bits)[None, None]
        placed = _in_latents(boxes[:1], one[1])
        return roi_align(bits, placed, self.grid, aligned=True)[0, 0] + LEAST_BITS


def _flat(images: Any) -> list[Any]:
    if isinstance(images, (list, tuple)):
        return [flat for image in images for flat in _flat(image)]
    return [images]


def _in_latents(boxes: Tensor, decoded: Decoded) -> Tensor:
    """Boxes in 0..1 as roi_align takes them: number of the picture, and latent positions."""
    height, width = decoded.size
    scale = torch.tensor([width, height, width, height], dtype=torch.float32) / STRIDE
    return torch.cat([boxes.new_zeros(len(boxes), 1), boxes * scale], 1)


def _view_counts(pixel_values: Any, sampled: list[Tensor | None], rows: list[int]) -> list[int]:
    """How many views of each picture the tower gets.

    Args:
        pixel_values: as the processor returns them.
        sampled: the latents of each picture, None for ordinary ones.
        rows: how many pictures each prompt has, or 1 for each picture.

    Returns:
        A count for each picture.

    Raises:
        BadArgument: they are ambiguous.
    """
    if len(pixel_values) == len(sampled):
        return [
            _count(values) if one is None else len(one)
            for values, one in zip(pixel_values, sampled)
        ]
    counts = [0 if one is None else len(one) for one in sampled]
    if len(pixel_values) == len(rows):
        # The views of all of a prompt's pictures are in one row (Idefics3).
        start = 0
        for values, pictures in zip(pixel_values, rows):
            unknown = [place for place in range(start, start + pictures) if not counts[place]]
            if len(unknown) == 1:
                counts[unknown[0]] = _count(values) - sum(counts[start : start + pictures])
            start += pictures
        if 0 not in counts:
            return counts
    if sum(counts) != len(pixel_values) or 0 in counts:
        raise BadArgument(
            "this processor does not tell which views belong to which picture, so latents cannot "
            "be passed on; attach the model without an adapter"
        )
    return counts


def _count(values: Any) -> int:
    """Views of an ordinary picture: a batch is padded by views of zeros."""
    values = torch.as_tensor(values)
    if values.ndim == 3:
        return 1
    real = values.flatten(1).any(1).nonzero()
    return int(real.max()) + 1 if len(real) else 1


def _padded(sampled: list[Tensor | None], views: list[int]) -> Tensor:
    """[pictures, views, M + 1, rows, columns], NaN where there is nothing."""
    shape = next(one.shape[1:] for one in sampled if one is not None)
    size = (len(sampled), max(views), *shape)
    latents = torch.full(size, float("nan"), dtype=torch.float32)
    for place, one in zip(latents, sampled):
        if one is not None:
            place[: len(one)] = one
    return latents
