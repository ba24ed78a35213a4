# System packages: installed with apt-get as root; without root, unpacked into $TRAILS_HOME/debs. To be sourced.
# shellcheck shell=bash

APT_UPDATED=no

# apt_install PACKAGE...: as root.
apt_install() {
    command -v apt-get >/dev/null || die "these system packages are missing, please install them: $*"
    if [ "$APT_UPDATED" = no ]; then
        logged apt-update "refreshing the list of system packages" apt-get update
        APT_UPDATED=yes
    fi
    logged apt-install "installing system packages: $*" \
        env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

# apt_unpack PACKAGE...: without root. Uses its own package lists, because the system's may be absent or old.
apt_unpack() {
    local home=$TRAILS_HOME/debs deb
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || return 1
    mkdir -p "$home/state/lists/partial" "$home/cache/archives/partial" "$home/root" "$home/files"
    local -a own=(-o "Dir::State=$home/state" -o Dir::State::status=/var/lib/dpkg/status -o "Dir::Cache=$home/cache")
    apt-get "${own[@]}" update &&
        (cd "$home/files" && rm -f ./*.deb && apt-get "${own[@]}" download "$@") || return 1
    for deb in "$home"/files/*.deb; do
        dpkg -x "$deb" "$home/root" || return 1
    done
    rm -rf "$home/files" "$home/state/lists" "$home/cache"
}

ask_administrator() {
    die "$1" "It could not be fetched without root. Please ask an administrator for: apt-get install $2"
}

# Everything that cannot be fetched here and that a README's reader is expected to have.
check_tools() {
    command -v cargo >/dev/null || die "cargo was not found" "install Rust 1.95 or newer (https://rustup.rs) and try again"
    if ! command -v gcc >/dev/null; then
        [ "$IS_ROOT" = yes ] || die "gcc was not found" "please ask an administrator for: apt-get install gcc libc6-dev"
        apt_install gcc libc6-dev
    fi
    # The tests of TLS make a certificate with it; nothing else needs it.
    if [ "$IS_ROOT" = yes ] && ! command -v openssl >/dev/null; then
        apt_install openssl
    fi
    provide_browser
    if [ "$IS_ROOT" = yes ] && ! readable_by_server "$TRAILS_HOME" "$TRAILS_HOME"; then
        die "the server's user '$SERVER_USER' cannot read TRAILS_HOME=$TRAILS_HOME" "choose a directory that everyone can enter"
    fi
}

# Chromium, in which the tests look at the dashboard's pages. Nothing else needs it: without it they say so.
provide_browser() {
    [ "$IS_ROOT" = yes ] && ! command -v chromium >/dev/null && command -v apt-get >/dev/null || return 0
    (apt_install chromium fonts-dejavu-core) || say "without Chromium the tests of the dashboard's pages will fail"
}

install_ensurepip() {
    [ "$PYTHON_EXE" = "/usr/bin/python$PYTHON_XY" ] || return 1
    apt_install "python$PYTHON_XY-venv"
}

# make_environment FOLDER: an empty virtual environment with pip.
make_environment() {
    if "$PYTHON_EXE" -I -c 'import ensurepip' 2>/dev/null || { [ "$IS_ROOT" = yes ] && install_ensurepip; }; then
        logged venv "making a virtual environment with Python $PYTHON_XY" "$PYTHON_EXE" -m venv "$1"
    else
        logged venv "making a virtual environment with Python $PYTHON_XY" "$PYTHON_EXE" -m venv --without-pip "$1"
        install_pip "$1"
    fi
}

# pip for an environment that was made without it: Debian's wheel, run from the file, installs itself.
install_pip() { # FOLDER
    local -a wheel
    attempt pip "fetching pip" apt_unpack python3-pip-whl ||
        ask_administrator "Python's ensurepip is missing" "python$PYTHON_XY-venv"
    wheel=("$TRAILS_HOME"/debs/root/usr/share/python-wheels/pip-*.whl)
    logged pip-install "installing pip" \
        env PYTHONPATH="${wheel[0]}" "$1/bin/python" -m pip install --no-index --no-deps "${wheel[0]}"
}

# Finds the shared libpython or provides it; leaves the linker flags that it needs in the environment.
provide_libpython() {
    local flags=$VENV/.rustflags link=$VENV/link found=$PYTHON_LIBDIR/$PYTHON_SO text=""
    [ ! -e "$flags" ] || return 0
    if [ ! -e "$found" ] && [ "$IS_ROOT" = yes ] && [ "$PYTHON_EXE" = "/usr/bin/python$PYTHON_XY" ]; then
        apt_install "libpython$PYTHON_XY"
    fi
    if [ ! -e "$found" ]; then
        attempt libpython "fetching $PYTHON_SO" apt_unpack "libpython$PYTHON_XY" ||
            ask_administrator "the shared library $PYTHON_SO is missing" "libpython$PYTHON_XY"
        found=$(find "$TRAILS_HOME/debs/root" -name "$PYTHON_SO" -print -quit)
        [ -n "$found" ] || die "the package libpython$PYTHON_XY holds no $PYTHON_SO"
    fi
    # Debian keeps the linker's name (the one without a version) in the -dev package: a link of our own replaces it.
    if [ ! -e "$PYTHON_LIBDIR/$PYTHON_LINK" ]; then
        mkdir -p "$link"
        ln -sfn "$found" "$link/$PYTHON_LINK"
        text="-L native=$link"
    fi
    # The loader looks in the system's directories by itself; any other has to be written into the extension.
    local known
    known=$(/sbin/ldconfig -p | sed -n "s/^.*$PYTHON_SO .* => //p" | xargs -r readlink -f)
    if ! grep -qxF "$(readlink -f "$found")" <<<"$known"; then
        text="$text -C link-arg=-Wl,-rpath,$(dirname "$found")"
    fi
    printf '%s\n' "$text" >"$flags"
}
