"""Which coding tool codes a picture, and why: cheap features first, then a trial of several."""
