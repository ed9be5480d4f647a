"""Comparisons with other codecs: sizes of real files, results as JSON, tables made from them."""
