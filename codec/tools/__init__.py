"""Coding tools: pixels and settings to bytes, and back."""
