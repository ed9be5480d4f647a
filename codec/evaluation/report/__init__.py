"""The report of `cotam eval`: curves, BD-rates, tables, and a page to look at.

::

    inputs -> pictures --+
    codecs under test ---+-> measure -> rows (kept) -> summary -> results.json, results.csv
    metrics -> judges ---+                                |
                                                          +-> plots -----------------+
    pictures -> same_size (each codec at one file size) -----------------------------+-> page
"""
