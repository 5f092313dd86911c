# Copies the runner's executable into the volume /bb, for the container of any image with glibc 2.28 and libstdc++.
# `npm run package` comes first. No digest: none could be looked up where this was written.
FROM debian:12-slim
COPY package/bin/bb_runner /bb_runner
COPY package/bin/bb_runner.cdx.json /usr/local/share/sbom/bb_runner.cdx.json
# Under its own name only when it is whole: it may be running there.
ENTRYPOINT ["sh", "-c", "cp /bb_runner /bb/bb_runner.new && mv /bb/bb_runner.new /bb/bb_runner"]
