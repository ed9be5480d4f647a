"""When a block of the receiver's picture is good enough for the next source.

A block whose source has not changed is as good as before, so it is kept. Any other block is kept
only if its error is below a threshold that depends on the quality. The error is measured between
the new source and the receiver's pixels, never between two sources. So when a picture fades by one
level per message, its blocks are sent again as soon as the sum of the steps is visible.

A block need not be sent again only because it was coded coarsely. So a block is also kept while the
pixels that it was coded from are within the threshold of the new source. Its error then consists of
its coding error and at most the threshold, however many messages there were.
"""

from __future__ import annotations

import numpy as np

from codec.bitstream.container import BEST_QUALITY

# (quality, root mean square error in levels of a block of 8x8 pixels). The AV1 tool leaves 11.7 on
# average at quality 25, 8.2 at 50, 5.5 at 75, 3.5 at 90 and 1.3 at 97 in blocks that are not flat
# (ten crops of train/screens). The threshold is half of that, so that blocks which are kept are
# better than blocks which are sent.
LEVELS = ((0, 7.0), (25, 5.8), (50, 4.1), (75, 2.8), (90, 1.7), (97, 0.7), (100, 0.0))
# Levels by which the learned tool's pixels may differ between machines (docs/decisions.md).
LEARNED_TOLERANCE = 1


def threshold(quality: float) -> float:
    """The largest mean squared error of a block that is kept, for a quality of 0..100.

    At 100 it is below 0: only equal blocks are kept.
    """
    if quality >= BEST_QUALITY:
        return -1.0
    qualities, levels = zip(*LEVELS)
    return float(np.interp(quality, qualities, levels)) ** 2
