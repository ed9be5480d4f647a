"""Costs of the browser viewer: bytes, and milliseconds in Chromium."""
