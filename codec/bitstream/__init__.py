"""Bytes: the container, rANS over frozen tables, the step field. No torch in this room."""
