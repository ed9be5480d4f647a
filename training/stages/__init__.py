"""What Lightning runs: one stage a file."""
