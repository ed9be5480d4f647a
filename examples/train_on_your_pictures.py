"""Continue the training of the shipped weights on your pictures, then use them.

python examples/train_on_your_pictures.py pictures/ run/ 90

`pictures/` has a folder train/photos; the last number is minutes. Run it from a clone after
pip install -e '.[train]'.
"""

import subprocess
import sys
from pathlib import Path

import codec

pictures, run, minutes = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), sys.argv[3]
weights = run / "mine.safetensors"
train = [
    sys.executable,
    "-m",
    "codec.cli.train",
    "experiment=polish",
    "start=checkpoints/small-mse.safetensors",
    f"data_folder={pictures}",
    f"minutes={minutes}",
    f"run_dir={run}",
    *sys.argv[4:],  # any setting of conf/, for example data.batch_size=4
]
subprocess.run(train, check=True)
subprocess.run([sys.executable, "-m", "training.export", str(run), str(weights)], check=True)

mine = codec.load(weights)
picture = next((pictures / "train" / "photos").iterdir())
print(f"{picture.name}: {len(mine.encode(picture, tool='learned'))} bytes with your weights")
