"""A codec as ONNX graphs and as executables."""
