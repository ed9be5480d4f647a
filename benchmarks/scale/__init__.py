"""Very large pictures and very many of them."""
