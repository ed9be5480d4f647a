"""Training: Lightning modules, data, losses and the Hydra entry. The codec never imports this."""
