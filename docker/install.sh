#!/bin/sh
# Installs cotam and its weights into a virtual environment: docker/install.sh cpu|cuda PLACE
# cpu: no PyTorch; the graphs are written by EXPORT_PYTHON, a Python that has cotam[export], or by one set up for it.
set -eu
device=$1
place=$2
python=${PYTHON:-python3}
"$python" -m venv "$place"
case $device in
cuda)
  "$place/bin/pip" install --quiet --no-cache-dir .
  ;;
cpu)
  if [ -z "${EXPORT_PYTHON:-}" ]; then
    "$python" -m venv /tmp/export
    /tmp/export/bin/pip install --quiet --no-cache-dir '.[export]'
    EXPORT_PYTHON=/tmp/export/bin/python
  fi
  "$EXPORT_PYTHON" -m codec.cli export --out "$place/graphs"
  "$python" docker/requirements.py > "$place/requirements.txt"
  "$place/bin/pip" install --quiet --no-cache-dir -r "$place/requirements.txt"
  "$place/bin/pip" install --quiet --no-cache-dir --no-deps .
  ;;
*)
  echo "DEVICE is cpu or cuda, not $device" >&2
  exit 2
  ;;
esac
