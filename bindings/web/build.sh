#!/usr/bin/env bash
# Builds the client for browsers, into target/pq-web: a module of wasm32 and the JavaScript through
# which a page calls it. `pq demo --web` finds it there.
#
#     bindings/web/build.sh
#
# It takes Rust's standard library for wasm32-unknown-unknown:
#   - of rustup: `rustup target add wasm32-unknown-unknown`;
#   - or of Debian's packages of Rust for browsers, which are unpacked into a folder of their own
#     (PQ_WASM_TOOLCHAIN, else ~/.cache/pq-wasm) and build it: about two minutes, once.
#
# Ends with code 3 where neither can be had.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
triple=wasm32-unknown-unknown
target=${CARGO_TARGET_DIR:-$root/target}
out=$target/pq-web
toolchain=${PQ_WASM_TOOLCHAIN:-${XDG_CACHE_HOME:-$HOME/.cache}/pq-wasm}
lib=$toolchain/usr/lib/x86_64-linux-gnu

unavailable() {
    cat >&2 << END
$1
The client for browsers takes Rust's standard library for $triple:
    rustup target add $triple
or, on Debian on x86-64, the packages rustc-web and rust-web-src, which this script unpacks.
END
    exit 3
}

# Debian's packages of Rust for browsers, unpacked. Nothing is installed.
fetch_toolchain() {
    [[ ! -e $toolchain/complete ]] || return 0
    command -v apt-get > /dev/null && command -v dpkg-deb > /dev/null ||
        unavailable "No apt-get and dpkg-deb."
    local version llvm packages
    version=$(apt-cache show rustc-web 2> /dev/null |
        sed -n 's/^Version: \([0-9]*\.[0-9]*\).*/\1/p' |
        sort -V | tail -n 1)
    [[ -n $version ]] || unavailable "No package rustc-web; is there one after apt-get update?"
    llvm=$(apt-cache show "libstd-rust-web-$version" | grep -o 'libllvm[0-9]*' | head -n 1)
    packages=(rustc-web "libstd-rust-web-$version" libstd-rust-web-dev rust-web-src
        "$llvm" "${llvm/libllvm/lld-}")
    rm -rf "$toolchain"
    mkdir -p "$toolchain/packages"
    echo "fetching ${packages[*]} into $toolchain" >&2
    # As root, apt-get would warn that it cannot give its rights away in a private folder.
    (cd "$toolchain/packages" &&
        apt-get -o APT::Sandbox::User="$(id -un)" download -qq "${packages[@]}") ||
        unavailable "The packages cannot be fetched."
    local package
    for package in "$toolchain/packages"/*.deb; do
        # Of the compiler's own sources, the standard library is enough.
        dpkg-deb --fsys-tarfile "$package" | tar -x -C "$toolchain" --no-wildcards-match-slash \
            --exclude './usr/src/*/src' --exclude './usr/src/*/compiler' --exclude './usr/share'
    done
    rm -rf "$toolchain/packages"
    touch "$toolchain/complete"
}

has_target() {
    local sysroot
    sysroot=$(rustc --print sysroot) &&
        compgen -G "$sysroot/lib/rustlib/$triple/lib/libstd-*" > /dev/null
}

std=()
if ! has_target; then
    [[ $(uname -sm) == "Linux x86_64" ]] || unavailable "There is no standard library for $triple."
    fetch_toolchain
    export RUSTC=$toolchain/usr/bin/rustc LD_LIBRARY_PATH=$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER
    CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$(echo "$toolchain"/usr/bin/wasm-ld-*)
    # The standard library is built here, which a released compiler has to be asked for.
    export RUSTC_BOOTSTRAP=1
    std=(-Zbuild-std=std,panic_abort)
fi
CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="-Ctarget-feature=+simd128" \
    cargo build --locked --package pq-web --lib --profile web --target $triple \
    --target-dir "$target/wasm" "${std[@]}"
# What writes the JavaScript is a program of this machine, by its own compiler.
unset RUSTC RUSTC_BOOTSTRAP LD_LIBRARY_PATH
CARGO_TARGET_DIR=$target/wasm/glue cargo build --locked --manifest-path bindings/web/glue/Cargo.toml
rm -rf "$out"
"$target/wasm/glue/debug/pq-web-glue" "$target/wasm/$triple/web/web.wasm" "$out" pq_web
ls -l "$out" >&2
echo "$out"
