"""Compares ways to select some of a tower's tokens."""
