"""Where the networks run; each backend offers pipeline.Backend's five calls."""
