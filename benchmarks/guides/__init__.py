"""Guides compared with uniform steps, scored by independent judges."""
