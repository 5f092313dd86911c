#!/usr/bin/env bash
# Makes a fresh clone ready to run and to test; does only what is missing, and says what it does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# "what package": Debian packages to install where a command is missing.
debian_packages=(
  # For the tests.
  "rsync rsync"
  "stress-ng stress-ng"
  "dbench dbench"
  "docker-compose docker-compose"
)
# Needed only where the kernel has no NFS client: src/in-kernel/main.ts then boots one that has.
user_mode_linux_packages=(
  "linux.uml user-mode-linux"
  "modprobe kmod"
  "ip iproute2"
)

main() {
  wait_for_other_setup
  check_node
  install_npm_packages
  build_native_helpers
  kernel_has_nfs_client || debian_packages+=("${user_mode_linux_packages[@]}")
  install_debian_packages
}

say() { echo "setup: $*"; }

# Its arguments: what is missing, then the command that helps.
fail() {
  echo "setup: $1" >&2
  echo "setup: to go on, run:  $2" >&2
  exit 1
}

wait_for_other_setup() {
  exec 9<.
  command -v flock >/dev/null || return 0
  flock --nonblock 9 && return
  say "waiting for another set-up of this folder"
  flock 9
}

check_node() {
  local get="apt-get install -y nodejs npm"
  command -v node >/dev/null || fail "Node.js is missing" "$get"
  command -v npm >/dev/null || fail "npm is missing" "$get"
  node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' ||
    fail "Node.js $(node --version) is too old to install the packages with: 18 or newer is needed" "$get"
}

install_npm_packages() {
  local installed=node_modules/.package-lock.json
  if [ ! -e "$installed" ] || [ package-lock.json -nt "$installed" ]; then
    say "installing the npm packages"
    npm ci --no-audit --no-fund --loglevel=error || fail "cannot install the npm packages" "npm ci"
    touch "$installed"
  fi
  [ -x node_modules/.bin/node ] ||
    fail "the npm package node lacks its binary (its install script did not run)" "npm rebuild node"
}

build_native_helpers() {
  [ -e native/Makefile ] || return 0
  command -v make >/dev/null && command -v cc >/dev/null ||
    fail "native/ needs make and a C compiler" "apt-get install -y make gcc libc6-dev"
  make -C native --question 2>/dev/null && return
  say "building native/"
  make -C native
}

kernel_has_nfs_client() {
  [ "$(id -u)" = 0 ] || return 1
  ! command -v modprobe >/dev/null || modprobe -aq nfs nfsv4 || true
  grep -qw nfs4 /proc/filesystems
}

is_installed() {
  local PATH=$PATH:/usr/sbin:/sbin
  command -v "$1" >/dev/null
}

install_debian_packages() {
  local missing=() entry
  for entry in "${debian_packages[@]}"; do
    is_installed "${entry% *}" || missing+=("${entry#* }")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  local install="apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=120 ${missing[*]}"
  command -v apt-get >/dev/null ||
    fail "missing: ${missing[*]} (Debian's names), and there is no apt-get here" "(your distribution's installer)"
  [ "$(id -u)" = 0 ] || fail "missing Debian packages, and only root can install them" "sudo $install"
  say "installing Debian packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  $install >/dev/null 2>&1 && return
  say "updating the list of Debian packages"
  apt-get update -q
  $install || fail "cannot install Debian packages" "apt-get update && $install"
}

main
