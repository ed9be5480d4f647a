"""The networks: transforms, gains and the integer-exact prior. They know nothing of files, bytes or quality numbers."""
