# Sourced by tests/run and demos/run: what coil needs from Debian 12, and how to get it.
# shellcheck shell=bash

# To build the library, the demos and the benchmarks.
COIL_PACKAGES_BUILD=(gcc libc6-dev binutils cmake ninja-build pkg-config liburing-dev
    libssl-dev)

# To test: a second compiler with its sanitizers, C++ for the headers, the checkers.
COIL_PACKAGES_TESTS=("${COIL_PACKAGES_BUILD[@]}" g++ libcriterion-dev clang libclang-rt-14-dev llvm
    clang-format clang-tidy python3 gdb gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)

# To run the demos: what demos/expect.py and nginx, which is only unpacked, need.
COIL_PACKAGES_DEMOS=("${COIL_PACKAGES_BUILD[@]}" python3 libpcre2-8-0 libssl3 zlib1g libcrypt1)

# Installs those of the named packages that are not there yet. Needs root only if any is missing.
coil_install()
{
    local package missing=()

    for package in "$@"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
            missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    if ((EUID != 0)); then
        echo "missing packages: ${missing[*]}; install them or run this as root" >&2
        return 1
    fi
    echo "installing: ${missing[*]}"
    apt-get -q -o DPkg::Lock::Timeout=300 update &&
        DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
            install --no-install-recommends "${missing[@]}"
}

# Unpacks a package of Debian into .build/packages/NAME, unless it is there: for a program to be run
# from there, without its service being installed and started. The caller installs what it needs.
coil_unpack()
{
    local package=$1 target=.build/packages/$1 download=.build/packages/$1.download

    [[ -d $target ]] && return 0
    rm -rf "$download" && mkdir -p "$download" || return 1
    (cd "$download" && apt-get -q -o APT::Sandbox::User=root download "$package") ||
        { apt-get -q update && (cd "$download" &&
            apt-get -q -o APT::Sandbox::User=root download "$package"); } || return 1
    dpkg-deb -x "$download"/*.deb "$download/tree" && mv "$download/tree" "$target" &&
        rm -rf "$download"
}
