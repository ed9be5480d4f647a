"""The losses of training."""
