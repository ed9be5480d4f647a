"""All tools have the same quality scale."""

from __future__ import annotations

import pytest

from codec.tools.quality import TABLES, Content, av1_index


@pytest.mark.parametrize("content", list(TABLES))
def test_a_larger_quality_is_never_coarser_and_the_ends_are_reached(content: Content) -> None:
    indices = [av1_index(quality, content) for quality in range(101)]
    assert indices == sorted(indices)
    assert (indices[0] == 0) == (content != "small picture")
    assert indices[100] == 63


def test_a_scan_is_coded_at_least_as_finely_as_graphics() -> None:
    assert all(av1_index(q, "text scan") >= av1_index(q, "graphics") for q in range(101))


def test_qualities_between_whole_numbers_are_allowed() -> None:
    assert av1_index(49.9) in (av1_index(49), av1_index(50))
