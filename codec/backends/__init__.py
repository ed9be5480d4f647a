"""Where the networks run; each backend offers the calls of interface.Backend."""
