"""Pictures, metadata and drawings: files <-> arrays. It does not depend on the networks."""
