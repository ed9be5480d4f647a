"""Effort levels for photographs: how long each takes, and what it wins."""
