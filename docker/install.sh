#!/bin/sh
# Installs cotam and its default weights into a virtual environment: docker/install.sh cpu|cuda PLACE
set -eu
device=$1
place=$2
python=${PYTHON:-python3}
"$python" -m venv "$place"
case $device in
cpu) packages=. ;;
cuda) packages='.[torch]' ;;
*)
  echo "DEVICE is cpu or cuda, not $device" >&2
  exit 2
  ;;
esac
"$place/bin/pip" install --quiet --no-cache-dir "$packages"
