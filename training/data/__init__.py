"""Training pictures and random QP maps."""
