"""Very large pictures, and very many pictures."""
