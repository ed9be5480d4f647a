"""The command `cotam`."""
