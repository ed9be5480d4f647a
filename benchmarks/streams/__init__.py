"""Sequences of screenshots: recorded with Chromium, coded as streams, still files and video."""
