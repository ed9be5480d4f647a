"""Exports a training run as a weights file with a model card."""
