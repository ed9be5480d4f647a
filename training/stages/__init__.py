"""The stages of training: one Lightning module per file."""
