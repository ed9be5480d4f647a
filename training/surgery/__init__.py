"""Changes to trained networks: pruning and equalized steps."""
