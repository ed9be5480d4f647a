"""Where the networks run; each backend offers the calls of coding.backend.Backend."""
