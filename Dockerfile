# syntax=docker/dockerfile:1
# MozDef's image: one binary, no shell, no root. Every stage is a subcommand of it.
#
#   docker build -t mozdef/mozdef:0.1.0 .
#   docker run --read-only --tmpfs /tmp -v mozdef:/var/lib/mozdef -v ./mozdef.yaml:/etc/mozdef/mozdef.yaml:ro mozdef/mozdef:0.1.0

FROM rust:1.95-bookworm AS build
WORKDIR /src
# The last stage has no zlib; the builder has, and would link it.
ENV LIBZ_SYS_STATIC=1
COPY . .
# Registry and dependencies stay in the builder's cache, so that a changed line builds its own crates only.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked -p mozdef \
    && install -D target/release/mozdef /out/usr/local/bin/mozdef \
    && install -d -o 65532 -g 65532 /out/var/lib/mozdef
# What it links must be in the last stage.
RUN ldd /out/usr/local/bin/mozdef > /tmp/linked \
    && ! grep -vE '(linux-vdso|ld-linux[-a-z0-9_]*|libc|libm|libgcc_s)\.so' /tmp/linked

# glibc and the authorities' certificates, and nothing to run but the binary. OpenSSL is built in.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="MozDef" \
      org.opencontainers.image.description="Takes security events, normalises and indexes them, raises alerts" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/usr/local/bin/mozdef /usr/local/bin/mozdef
COPY --from=build --chown=65532:65532 /out/var/lib/mozdef /var/lib/mozdef
USER 65532:65532
# Relative paths of the configuration's defaults (`mozdef up` without Kafka) begin here; mount a volume.
WORKDIR /var/lib/mozdef
EXPOSE 8080 9600
ENTRYPOINT ["/usr/local/bin/mozdef"]
CMD ["up"]
