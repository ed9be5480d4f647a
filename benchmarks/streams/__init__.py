"""Sequences of screenshots: recorded with Chromium, coded by streams, still files and video."""
