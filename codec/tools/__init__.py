"""Coding tools: pixels and settings to bytes, and back.

Importing this package imports no tool: a command loads only what it uses.
"""
