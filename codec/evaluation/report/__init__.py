"""`cotam eval`: codecs side by side on pictures, and a page to look at.

::

    inputs -> pictures --+
    contenders -> codecs +-> measure -> rows (kept) -> summary -> results.json, results.csv, plots
    metrics -> judges ---+                                     -> page (index.html) <- same_size (pictures of one size)
"""
