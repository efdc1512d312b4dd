# The environment of requirements.txt, for a clone that you mount: docs/docker.md.
#
#   docker build --tag synthbridge .                                # NVIDIA GPUs, and CPUs
#   docker build --tag synthbridge:cpu --build-arg DEVICE=cpu .     # CPUs alone, about 4 GB smaller
#
# Its parts were checked one by one; the whole image has not been built yet.
FROM python:3.11-slim-bookworm

# git for DVC; a compiler for torch's own compiler (`compile: true` in params.yaml)
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git g++ \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /synthbridge
COPY requirements.txt ./

# PyPI's torch for Linux is the CUDA build, and requirements.txt names the CUDA libraries that it
# needs. The CPU builds stand on an index of PyTorch's own under the same version numbers. torch
# and torchvision must come from one index, or torchvision does not start: so these two come first.
ARG DEVICE=cuda
RUN case "$DEVICE" in \
      cuda) \
        pip install --no-cache-dir --requirement requirements.txt ;; \
      cpu) \
        grep -E '^(torch|torchvision)==' requirements.txt > /tmp/torch.txt \
        && grep -vE '^(torch|torchvision|triton|cuda-[a-z]+|nvidia-[a-z0-9-]+)==' \
          requirements.txt > /tmp/others.txt \
        && pip install --no-cache-dir --no-deps --requirement /tmp/torch.txt \
          --index-url https://download.pytorch.org/whl/cpu \
        && pip install --no-cache-dir --requirement /tmp/others.txt \
        && rm /tmp/torch.txt /tmp/others.txt ;; \
      *) \
        echo "DEVICE is '$DEVICE'; it must be cuda or cpu" >&2; exit 1 ;; \
    esac \
    && python -c "import torchvision"

# Editable: with a clone mounted here, `synthbridge` and `python src` run the clone's code.
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable .

# No root. `docker run --user` may be anyone: whoever it is has a home to write to and a name.
RUN useradd --create-home synthbridge \
    && chmod 1777 /home/synthbridge \
    && git config --system --add safe.directory /synthbridge
ENV HOME=/home/synthbridge USER=synthbridge
USER synthbridge

CMD ["synthbridge", "--help"]
