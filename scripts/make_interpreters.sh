#!/usr/bin/env bash
# Makes a root folder with the CPythons of Debian's testing suite, for tests/interpreters.py to find.
#
# They are newer than what this machine's own suite or pyenv has. A finished folder is kept and an unfinished one thrown
# away, so this can be called before every run of the tests. It lies in .interpreters, or in $DOCTOR_INTERPRETERS.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=python3.14,python3.14-dev,python3.15,python3.15-dev
root=${DOCTOR_INTERPRETERS:-.interpreters}/testing
finished=$root/.finished # holds the packages it was made of

fail() {
  echo "make_interpreters: $*" >&2
  exit 1
}

# What this machine's suite comes from has the other suites too; its updates and security fixes lie elsewhere.
mirror() {
  apt-get indextargets --format '$(ORIGIN) $(LABEL) $(RELEASE) $(SITE)' 'Created-By: Packages' |
    awk '$1 == "Debian" && $2 == "Debian" && $3 !~ /-/ { print $4; exit }'
}

[[ $(cat "$finished" 2>/dev/null) != "$packages" ]] || exit 0
((EUID == 0)) || fail "making a root folder, and running programs in it, takes root"
command -v debootstrap >/dev/null || fail "debootstrap is missing: apt-get install debootstrap"
command -v apt-get >/dev/null || fail "apt-get is missing: its configuration says which mirror to use"
from=$(mirror)
[[ -n $from ]] || fail "apt knows no mirror of Debian: add a source, then apt-get update"

mkdir -p "$(dirname "$root")"
exec {lock}>"$root.lock"
flock "$lock"
[[ $(cat "$finished" 2>/dev/null) != "$packages" ]] || exit 0 # somebody else has made it meanwhile
rm -rf --one-file-system "$root"
debootstrap --variant=minbase --include="$packages" testing "$root" "$from" >"$root.log" 2>&1 ||
  fail "debootstrap failed, see $root.log: $(tail -n 1 "$root.log")"
rm -rf "$root/var/cache/apt" "$root/var/lib/apt/lists"
echo "$packages" >"$finished"
