"""What the commands print while they work."""
