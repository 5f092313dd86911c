# The worker: its executable, which has the NFS server and all helpers inside. `npm run package` comes first.
# No digest: none could be looked up where this was written. Pin it: docker buildx imagetools inspect debian:12-slim
FROM debian:12-slim
COPY package/bin/bb_worker /usr/local/bin/bb_worker
COPY package/bin/bb_worker.cdx.json /usr/local/share/sbom/bb_worker.cdx.json
# Less memory for glibc's arenas; see decision 20 in docs/architecture.md.
ENV MALLOC_ARENA_MAX=2
ENTRYPOINT ["/usr/local/bin/bb_worker"]
