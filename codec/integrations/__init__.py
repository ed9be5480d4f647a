"""Integrations with other software, one module for each, imported only on demand."""
