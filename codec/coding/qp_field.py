"""The QPs of a file on its latent grid."""

from __future__ import annotations

from codec.bitstream import qp_map
from codec.bitstream.container import Container
from codec.coding.backend import QpField
from codec.coding.latent_grid import latent_grid


def field_of(content: Container) -> QpField:
    """One QP, or int64 [rows, cols] where the file has a QP map. Raises Corrupt."""
    grid = latent_grid(content.height, content.width)
    offsets = None if content.qp_map is None else qp_map.decode_offsets(content.qp_map, *grid)
    return qp_map.qp_field(content.qp, offsets, *grid)
