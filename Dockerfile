# weir and its simulator, each alone in an image: one static binary, no shell, no
# package manager, and a user that is not root.
#
#   docker build -t weir .                                  the server
#   docker build -t weir-simulator --target simulator .     simulated devices
#   docker build --build-arg VERSION=1.2.3 -t weir:1.2.3 .  a release
#
#   docker run -p 127.0.0.1:1883:1883 -p 127.0.0.1:8080:8080 -v weir-data:/data weir

FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETOS TARGETARCH
# Empty: the release that the source tree says it is.
ARG VERSION=""
# .git is not here, so there is no revision to stamp in.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/go/build-cache \
    GOCACHE=/go/build-cache CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w ${VERSION:+-X main.release=$VERSION}" \
        -o /out/ ./cmd/weir ./cmd/simulator
# The folder of the volume: a new volume takes its owner from it.
RUN mkdir /out/data

# wget for the HEALTHCHECK: busybox, static, under that one name.
FROM busybox:1.37.0-musl AS tools

FROM scratch AS base
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
# Time zones for sources with time.zone.
COPY --from=build /usr/local/go/lib/time/zoneinfo.zip /usr/share/zoneinfo.zip
ENV ZONEINFO=/usr/share/zoneinfo.zip
USER 65532:65532

FROM base AS simulator
COPY --from=build /out/simulator /usr/local/bin/simulator
ENTRYPOINT ["/usr/local/bin/simulator"]
CMD ["run", "--help"]

FROM base AS weir
COPY --from=tools /bin/busybox /bin/wget
COPY --from=build /out/weir /usr/local/bin/weir
COPY --from=build --chown=65532:65532 /out/data /data
COPY configs/docker.yaml /etc/weir/weir.yaml
COPY configs/rules /etc/weir/rules
VOLUME /data
# MQTT; the API, metrics and console.
EXPOSE 1883 8080
# weir stops by itself within 10 s of SIGTERM, and loses nothing.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["/bin/wget", "-q", "-T", "2", "-O", "/dev/null", "http://127.0.0.1:8080/healthz"]
ENTRYPOINT ["/usr/local/bin/weir"]
CMD ["run", "-c", "/etc/weir/weir.yaml"]
