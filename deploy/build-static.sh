#!/usr/bin/env bash
# Builds bursar as one static file that runs on any Linux of this machine's kind, and proves that it is one.
#   deploy/build-static.sh [FILE]     copies the program to FILE; without it, says where it is
#
# glibc is linked in (`crt-static`). Since glibc 2.34 its resolver for /etc/hosts and DNS is part of the library, so names
# are found without any file of the system's libc. Other name services (mDNS, LDAP, systemd-resolved's own module) are not
# used by a static program: with `hosts: files resolve dns` it goes on to DNS. musl would do the same with a slower
# allocator and one more toolchain to install.
set -euo pipefail
cd "$(dirname "$0")/.."

target="$(rustc -vV | sed -n 's/^host: //p')"
case $target in
  *-linux-gnu) ;;
  *) echo "static builds are made on Linux with glibc; this is $target" && exit 1 ;;
esac
glibc=$(getconf GNU_LIBC_VERSION | cut -d' ' -f2)
if [ "$(printf '%s\n' 2.34 "$glibc" | sort -V | head -n 1)" != 2.34 ]; then
  echo "glibc $glibc is too old for a static program that looks up names: 2.34 or newer is needed"
  exit 1
fi

# `--target` keeps the flag away from build scripts and procedural macros, which can not be static.
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" cargo build --release --locked --bin bursar --target "$target"
program="${CARGO_TARGET_DIR:-target}/$target/release/bursar"

file "$program"
# ldd's words differ between releases, the program's own headers do not: no loader asked for, no library needed.
headers=$(readelf --program-headers --dynamic --wide "$program")
if grep INTERP <<<"$headers"; then
  echo "$program asks for a loader: it is not static"
  exit 1
fi
if grep NEEDED <<<"$headers"; then
  echo "$program needs shared libraries: it is not static"
  exit 1
fi
ldd "$program" || true
# It starts where there is nothing else: an empty folder as its whole file system, when that is allowed.
"$program" --version
if [ "$(id -u)" -eq 0 ]; then
  empty=$(mktemp -d)
  trap 'rm -rf "$empty"' EXIT
  cp "$program" "$empty/bursar"
  chroot "$empty" /bursar --version
fi

if [ -n "${1:-}" ]; then
  install -m 755 "$program" "$1"
  echo "static program: $1"
else
  echo "static program: $program"
fi
