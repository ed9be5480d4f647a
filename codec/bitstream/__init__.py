"""Bytes: the container, rANS over frozen tables, the QP map. No torch here."""
