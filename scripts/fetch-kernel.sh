#!/usr/bin/env bash
# Fetches a Debian kernel for `npm run in-kernel -- --qemu`, by default the one of linux-image-cloud-amd64: unpacked below
# ~/.cache, so that this machine's own boot is left alone.
set -euo pipefail
package=${1:-linux-image-cloud-amd64}
kernels=${XDG_CACHE_HOME:-$HOME/.cache}/bb-worker-nfs4/kernels

fail() {
  echo "fetch-kernel: $*" >&2
  exit 1
}

command -v apt-get >/dev/null || fail "there is no apt-get here: unpack a kernel package, and give --kernel its folder"
command -v depmod >/dev/null || PATH=$PATH:/usr/sbin:/sbin
command -v depmod >/dev/null || fail "depmod is missing: apt-get install -y kmod"

# A package like linux-image-cloud-amd64 only depends on that of the newest version.
versioned=$(apt-cache depends "$package" | sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p' | head -1)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
(cd "$folder" && apt-get download "${versioned:-$package}") || fail "no $package: apt-get update may help"
mkdir "$folder/kernel"
dpkg-deb --extract "$folder"/*.deb "$folder/kernel"
image=$(basename "$folder"/kernel/boot/vmlinuz-*)
depmod --basedir "$folder/kernel" "${image#vmlinuz-}"
mkdir -p "$kernels"
rm -rf "${kernels:?}/$package"
mv "$folder/kernel" "$kernels/$package"
echo "fetch-kernel: $kernels/$package has ${image#vmlinuz-}"
