"""Doors to other people's software, one file for each; none is imported unless asked for."""
