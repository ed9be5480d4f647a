# cotam with its weights: docker build -t cotam .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" cotam encode photo.jpg
# DEVICE=cpu: ONNX Runtime, no PyTorch. DEVICE=cuda: PyTorch (docker run --gpus all).
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
ARG DEVICE=cpu
WORKDIR /source
COPY setup.py setup.cfg pyproject.toml README.md ./
COPY codec codec
COPY checkpoints checkpoints
COPY docker docker
RUN sh docker/install.sh "$DEVICE" /opt/cotam

FROM python:${PYTHON}-slim
COPY docker docker
RUN sh docker/user.sh cotam
COPY --from=build /opt/cotam /opt/cotam
ENV PATH=/opt/cotam/bin:$PATH
USER cotam
WORKDIR /data
ENTRYPOINT ["cotam"]
