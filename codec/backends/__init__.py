"""Where the networks run; each backend offers the calls of coding.backend.Backend."""

# Environment variable: threads of a graph in ONNX Runtime; 0 for all cores.
THREADS = "COTAM_THREADS"
