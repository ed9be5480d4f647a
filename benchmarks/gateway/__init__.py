"""Benchmarks of the gateway of `cotam serve`."""
