//! `portcullis generate docker`: how an image of this version is built.

use clap::Args;

use crate::cli::{Exit, Streams};

/// Arguments of `generate docker`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  portcullis generate docker > Dockerfile                   in the folder of the sources
  docker build -t portcullis --build-arg COMMIT=$(git rev-parse --short=12 HEAD) .
  docker run --rm -p 8443:8443 -v $PWD:/etc/portcullis:ro --read-only --cap-drop ALL --stop-timeout 40 portcullis")]
pub(super) struct Docker {}

/// Prints.
pub(super) fn run(streams: &mut Streams<'_>) -> Exit {
    streams.write(dockerfile().as_bytes());
    Exit::Done
}

/// No shell, no package manager and no root in the image, and nothing in it that is written to.
fn dockerfile() -> String {
    format!(
        "\
# portcullis {version}: build it in the folder of its sources, with `target` in .dockerignore.
FROM rust:{rust}-slim-bookworm AS build
WORKDIR /src
COPY . .
ARG COMMIT=
# gcc is in the image: the cryptography is C.
RUN PORTCULLIS_COMMIT=\"$COMMIT\" cargo build --release --locked

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/portcullis /usr/local/bin/portcullis
# The folder with proxy.toml is mounted at /etc/portcullis.
ENV PORTCULLIS_CONFIG=/etc/portcullis/proxy.toml
USER 65532:65532
EXPOSE 8443
# It drains for 40 s at most; `docker stop` gives 10 unless it is told otherwise.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD [\"/usr/local/bin/portcullis\", \"healthcheck\", \"--ready\"]
ENTRYPOINT [\"/usr/local/bin/portcullis\"]
CMD [\"serve\"]
",
        version = env!("CARGO_PKG_VERSION"),
        rust = env!("CARGO_PKG_RUST_VERSION"),
    )
}
