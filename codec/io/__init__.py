"""Pictures, metadata and drawings: files <-> arrays. Knows no network."""
