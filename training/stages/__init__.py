"""Lightning modules: one stage of training a file."""
