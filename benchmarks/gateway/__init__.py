"""Benchmarks of the gateway `cotam serve`."""
