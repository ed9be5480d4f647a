"""Coding tools: pixels and settings to bytes, and back.

Importing this package imports no tool, so that a command loads only the tools that it uses.
"""
