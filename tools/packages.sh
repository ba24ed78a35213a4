# The locked packages, with PyTorch's ordinary build or the one that an index of the user's choice has. To be sourced.
# shellcheck shell=bash

# What PyTorch's ordinary build needs for GPUs, and a CPU-only build does without.
FOR_GPUS='nvidia-|cuda-|triton=='

# A complete environment is not made anew behind the back of others who use it.
check_torch_index() {
    [ -n "${TRAILS_TORCH_INDEX:-}" ] && [ -e "$VENV/.complete" ] && [ ! -e "$VENV/.torch-index" ] || return 0
    die "TRAILS_TORCH_INDEX is set, and the environment that is there has PyTorch's ordinary build" \
        "leave it unset, or make the environment anew: rm -r $VENV" "or keep a second one: TRAILS_HOME=/elsewhere make setup"
}

# Into the new environment $VENV.
install_packages() {
    local -a pip=("$VENV/bin/python" -m pip install --no-deps --disable-pip-version-check)
    if [ -z "${TRAILS_TORCH_INDEX:-}" ]; then
        logged packages "installing torch, NumPy and the other locked packages (5 GB on disk; the first time takes minutes)" \
            "${pip[@]}" -r "$ROOT/requirements.lock"
        return
    fi
    local others=$VENV/requirements.txt torch
    grep -vE "^($FOR_GPUS|torch==)" "$ROOT/requirements.lock" >"$others"
    # A local version such as 2.15.0+cpu is what 2.15.0 asks for.
    torch=$(grep '^torch==' "$ROOT/requirements.lock")
    logged torch "installing $torch from $TRAILS_TORCH_INDEX" "${pip[@]}" --index-url "$TRAILS_TORCH_INDEX" "$torch"
    logged packages "installing NumPy and the other locked packages" "${pip[@]}" -r "$others"
    printf '%s\n' "$TRAILS_TORCH_INDEX" >"$VENV/.torch-index"
}
