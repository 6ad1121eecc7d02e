# All commands of the project, to convert, train, evaluate and export, from the root of a clone:
#
#   docker build -f docker/training.Dockerfile -t adl-zoo .
#   docker build -f docker/training.Dockerfile -t adl-zoo:gpu --build-arg EXTRAS=all,gpu .       # CUDA, for NVIDIA GPUs
#   docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" adl-zoo train --recipe pose_lstm_nucla
#   docker run --rm --gpus all -v "$PWD:/work" --user "$(id -u):$(id -g)" adl-zoo:gpu train --recipe i3d_nucla
#
# The current folder is /work inside: data/ and runs/ are in it, and .cache/ with the weights that were fetched.
# PYTHON=3.13 builds with the other row of the stack.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim-bookworm
ARG EXTRAS=all
COPY --from=build /wheels /wheels
RUN set -- /wheels/*.whl && python -m pip install --no-cache-dir "$1[$EXTRAS]" && useradd --uid 1000 --create-home adl
# Any user may run it: what is cached lies with the data. Without --user it is 1000: a number, by which Kubernetes
# sees that it is not root.
ENV HOME=/work XDG_CACHE_HOME=/work/.cache PYTHONUNBUFFERED=1
USER 1000
WORKDIR /work
ENTRYPOINT ["adl"]
CMD ["--help"]
