"""A training run as a weights file with its model card."""
