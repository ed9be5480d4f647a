"""The networks as ONNX graphs, built from the arrays of a checkpoint, without PyTorch.

::

    checkpoint --transforms, prior--> Graph --onnx_file--> bytes -> ONNX Runtime, a browser
"""
