"""Which of a tower's tokens to keep."""
