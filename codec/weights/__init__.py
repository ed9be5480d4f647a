"""Weights on disk: files <-> arrays <-> modules."""
