"""Measurements beside other codecs: real file bytes, results as JSON, tables made from it."""
