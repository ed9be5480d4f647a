"""Encode a picture, look at the file, decode it again.

python examples/encode_decode.py photo.jpg
"""

import sys
from pathlib import Path

import codec

source = Path(sys.argv[1])
cotam = codec.load()

encoded = cotam.encode_full(source, quality=50)
file = source.with_suffix(".ctm")
file.write_bytes(encoded.data)
print(f"{file}: {len(encoded.data)} bytes, tool '{encoded.tool}' because {encoded.reason}")

info = codec.inspect(file.read_bytes())  # reads the header only
print(f"{info.width}x{info.height} pixels")

picture = cotam.decode(file.read_bytes())  # a PIL image
picture.save(source.with_name(f"{source.stem}-decoded.png"))
preview = cotam.decode(file.read_bytes(), level="preview")  # an eighth of the sides
print(f"preview: {preview.width}x{preview.height} pixels")
