"""The learned tool's order of coding, over a `Backend`. numpy only."""
