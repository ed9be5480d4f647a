"""`cotam view`: a page on this machine that shows files beside their originals.

::

    FILE|DIR -> files -> server on 127.0.0.1 -> codec.web in a browser
                           \\-> decoded: by Python, where the browser has no onnxruntime-web
"""
