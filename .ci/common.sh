# What `.ci/run` and `.ci/nightly` have in common. Sourced in the repository's root.
# shellcheck shell=bash
set -euo pipefail
export CARGO_TERM_COLOR=never

log=target/ci
durations=()
tests_ran=
mkdir -p "$log"

# The end of the log says how far it came, how long each phase took, and what the tests said.
finish() {
    local status=$?
    echo
    echo "== durations"
    printf '%s\n' "${durations[@]+"${durations[@]}"}"
    if [[ -n $tests_ran ]]; then
        echo
        echo "== tests"
        grep -h '^test result:' "$log"/test-*.log || true
        grep -h '^test result:' "$log"/test-*.log | awk '
            { passed += $4; failed += $6; ignored += $8 }
            END { printf "%d passed, %d failed, %d ignored\n", passed, failed, ignored }' || true
        local skipped
        skipped=$(cat "$log"/test-*.log | grep -c '^skipped: ' || true)
        if ((skipped)); then echo "skipped, $skipped tests: real networks are missing"; fi
    fi
    if ((status)); then echo "CI FAILED${current:+ in: $current}"; else echo "CI passed"; fi
}
trap finish EXIT

# Runs a named phase and notes how long it took.
phase() {
    current=$1
    shift
    echo
    echo "== $current"
    local start=$SECONDS
    "$@" < /dev/null
    durations+=("$(printf '%5d s  %s' $((SECONDS - start)) "$current")")
    current=
}

missing() {
    echo "missing: $1" >&2
    exit 1
}

rust_and_python() {
    command -v cargo > /dev/null || missing "cargo: install Rust"
    command -v cc > /dev/null || missing "cc: install a C compiler and linker"
    command -v python3 > /dev/null || missing "python3"
}

# Python's packages that are named, in an environment that is made once. The first is tried.
packages() {
    local venv=$PWD/target/ci-venv
    [[ -x $venv/bin/python ]] || python3 -m venv "$venv" || missing "python3's module venv"
    "$venv/bin/python" -c "import ${1//-/_}" 2> /dev/null ||
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}

# The tests find onnxruntime, the judge of our float evaluation, in the active environment, and
# real networks beside the repository.
real_networks() {
    export VIRTUAL_ENV=$PWD/target/ci-venv PQ_REQUIRE_ORT=1
    unset ORT_DYLIB_PATH
    if [[ -d ../shared/data ]]; then
        echo "real networks: ../shared/data"
        export PQ_REQUIRE_DATA=1
    else
        echo "WARNING: ../shared/data is missing; the tests on real networks are skipped"
    fi
}
