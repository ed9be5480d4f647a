"""Coding tools: pixels to bytes and back, each without a container of its own."""
