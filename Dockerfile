# Images of Trails.
#
#   docker build -t trails .                          PostgreSQL with the extension (the last stage, `server`)
#   docker build -t trails-worker --target worker .   the Python side alone, for machines that only refine
#
# Both start from `runtime`, so the several gigabytes of torch are one layer that they share and that a change to the
# sources leaves alone. What changes least comes first in every stage.
ARG RUST_IMAGE=rust:1.95-bookworm
ARG BASE_IMAGE=debian:bookworm
ARG PG_MAJOR=15


# ---------------------------------------------------------------- the extension, compiled
FROM ${RUST_IMAGE} AS extension
ARG PG_MAJOR
ARG CARGO_PGRX_VERSION=0.18.1

RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        libclang-dev postgresql-server-dev-${PG_MAJOR} python3-dev \
    && rm -rf /var/lib/apt/lists/*

# Without the default features OpenSSL is not needed: rustls is always compiled in.
RUN CARGO_TARGET_DIR=/tmp/cargo-pgrx cargo install cargo-pgrx \
        --version "=${CARGO_PGRX_VERSION}" --locked --no-default-features \
    && rm -rf /tmp/cargo-pgrx "${CARGO_HOME}/registry"

# Debian's interpreter, not whichever PATH finds: the runtime stage has the same one, and its libpython.
ENV PYO3_PYTHON=/usr/bin/python3 \
    PGRX_HOME=/opt/pgrx
RUN cargo pgrx init "--pg${PG_MAJOR}" "/usr/lib/postgresql/${PG_MAJOR}/bin/pg_config"
WORKDIR /src/pg_extension

# The dependencies are compiled around an empty crate by the very command that builds the real one, so that cargo
# finds nothing to compile again.
COPY crates /src/crates
COPY pg_extension/Cargo.toml pg_extension/Cargo.lock pg_extension/trails.control ./
COPY docker/package-extension /usr/local/bin/
RUN mkdir src && echo '::pgrx::pg_module_magic!();' > src/lib.rs \
    && package-extension "${PG_MAJOR}" /tmp/empty \
    && rm -rf src /tmp/empty

COPY sql /src/sql
COPY python/trails/limits.toml /src/python/trails/
COPY pg_extension ./
# cargo compares times: files older than the empty crate's build would pass for it.
RUN find src -name '*.rs' -exec touch {} + && package-extension "${PG_MAJOR}" /out


# ---------------------------------------------------------------- Python, torch and NumPy: shared by both images
FROM ${BASE_IMAGE} AS runtime

RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        libpython3.11 python3 python3-venv tini \
    && rm -rf /var/lib/apt/lists/*

# The lock is everything that development needs, too; as a constraint it only fixes the versions of what is installed.
COPY pyproject.toml requirements.lock /opt/trails/
RUN --mount=type=cache,target=/var/cache/pip \
    python3 -m venv /opt/trails/venv \
    && python3 -c 'import tomllib; project = tomllib.load(open("/opt/trails/pyproject.toml", "rb"))["project"]; \
extras = project["optional-dependencies"]; \
print("setuptools", *project["dependencies"], *extras["train"], *extras["service"], *extras["onnx"], sep="\n")' \
        > /opt/trails/packages \
    && /opt/trails/venv/bin/pip install --cache-dir /var/cache/pip --constraint /opt/trails/requirements.lock \
        --requirement /opt/trails/packages

# Last, so that Debian's own python3 stays the first that PATH finds.
ENV PATH=${PATH}:/opt/trails/venv/bin \
    PYTHONUNBUFFERED=1

LABEL org.opencontainers.image.title="Trails" \
      org.opencontainers.image.description="Deep model selection for a table, in SQL, within a time budget" \
      org.opencontainers.image.licenses="Apache-2.0"
# Something that reaps orphans has to be process 1. As process 1 the postmaster inherits a program that outlives its
# backend, takes it for a backend, and restarts every session if that program is killed.
ENTRYPOINT ["/usr/bin/tini", "--"]


# ---------------------------------------------------------------- refinement worker
FROM runtime AS worker

RUN useradd --system --uid 10001 --user-group --create-home --home-dir /var/lib/trails trails
COPY pyproject.toml LICENSE /opt/trails/source/
COPY python /opt/trails/source/python
RUN /opt/trails/venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation /opt/trails/source \
    && /opt/trails/venv/bin/pip check \
    && rm -rf /opt/trails/source

USER trails
WORKDIR /var/lib/trails
CMD ["trails", "--help"]


# ---------------------------------------------------------------- PostgreSQL with the extension
FROM runtime AS server
ARG PG_MAJOR

# The user's number is fixed, since volumes outlive images. No cluster is made while the package is installed: the data
# belong in a volume, made on first start.
RUN groupadd --system --gid 999 postgres \
    && useradd --system --uid 999 --gid postgres --home-dir /var/lib/postgresql --shell /bin/bash postgres \
    && mkdir -p /etc/postgresql-common \
    && echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf \
    && apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql-${PG_MAJOR} \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o postgres -g postgres -m 0700 /var/lib/postgresql/data \
    && install -d -o postgres -g postgres -m 2775 /var/run/postgresql \
    && install -d /docker-entrypoint-initdb.d

COPY docker/entrypoint /usr/local/bin/trails-entrypoint
COPY docker/postgresql.conf /etc/trails/postgresql.conf
COPY pyproject.toml LICENSE /opt/trails/source/
COPY python /opt/trails/source/python
RUN /opt/trails/venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation /opt/trails/source \
    && /opt/trails/venv/bin/pip check \
    && rm -rf /opt/trails/source
COPY --from=extension /out/ /

# LANG and not LC_ALL, so that a session can still set its own.
ENV LANG=C.UTF-8 \
    PATH=/usr/lib/postgresql/${PG_MAJOR}/bin:${PATH} \
    PGDATA=/var/lib/postgresql/data/pgdata
VOLUME /var/lib/postgresql/data
EXPOSE 5432
USER postgres
WORKDIR /var/lib/postgresql

# Fast shutdown: sessions are ended, the data are safe. SIGTERM would wait for clients to leave.
STOPSIGNAL SIGINT
# Over TCP, which the server only answers once the data directory is complete.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["pg_isready", "--quiet", "--host=127.0.0.1", "--username=postgres", "--dbname=trails"]
ENTRYPOINT ["/usr/bin/tini", "--", "/usr/local/bin/trails-entrypoint"]
CMD ["postgres"]
