"""Where the loss is computed."""
