"""Benchmarks of the ways to hosts of models."""
