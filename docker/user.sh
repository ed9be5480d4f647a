#!/bin/sh
# A user without rights for the image: docker/user.sh NAME [PREFIX]
set -eu
useradd --prefix "${2:-/}" --system --create-home --shell /usr/sbin/nologin "$1"
