"""Effort levels for photographs: how long each takes, and how many bytes it saves."""
