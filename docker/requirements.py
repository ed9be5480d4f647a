"""What cotam needs where exported graphs stand in for PyTorch, from setup.cfg."""

from configparser import ConfigParser

settings = ConfigParser()
settings.read("setup.cfg")
needed = (
    settings["options"]["install_requires"].split()
    + settings["options.extras_require"]["onnx"].split()
)
print("\n".join(name for name in needed if not name.startswith("torch")))
