#!/usr/bin/env bash
# Writes run.txt (what phyda needs) and all.txt (tests and documentation too), for Python 3.11 and
# later on any system: the version of every package, and the hashes of its files. Needs uv.
#
# torch is left out. Its builds differ by machine, and constraints.txt pins its version.
# ECMWF's packages name their libraries in the files of some systems only, and uv reads one file.
# So they are asked for here, in the version that odclib demands. `make` runs `pip check`.
set -euo pipefail
cd "$(dirname "$0")/.."
override=$(mktemp)
trap 'rm -f "$override"' EXIT
printf '%s\n' "torch ; sys_platform == 'never'" setuptools >"$override"

lock() {
  printf '%s\n' hatchling editables "eccodeslib==2.50.0.32 ; sys_platform != 'win32'" |
    uv pip compile pyproject.toml - "${@:2}" --universal --python-version 3.11 \
      --override "$override" --no-emit-package torch --generate-hashes --no-annotate --quiet \
      --custom-compile-command requirements/lock.sh --output-file "requirements/$1"
}
lock run.txt
lock all.txt --extra test --extra docs
