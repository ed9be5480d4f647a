"""The learned tool's order of work, over a `Backend`: numpy only."""
