#!/bin/bash
# The first process of a booted kernel: it starts on the host's own tree. From the launcher, in the environment:
# $machine is uml or qemu; $modules has the modules of each kernel version in a folder.
# $job holds the command (argv, env) and how to run it (settings), each a list of NUL-ended strings.
# $lines are pipes to the launcher: 1 and 2 carry the command's output, 3 what became of it.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
kernel=$(uname -r)
modules=$modules/$kernel
stdout=${lines}1 stderr=${lines}2 control=${lines}3

tell() { printf '%s\n' "$*" >"$control"; }

# Only a panic ends the kernel at once; the launcher then shows its log.
die() {
  echo "init.sh: $*" >/dev/kmsg
  echo c >/proc/sysrq-trigger
}

mount_host_tree_copy_on_write() {
  insmod "$modules"/kernel/fs/overlayfs/overlay.ko* &&
    mount -t tmpfs -o mode=755 tmpfs /mnt &&
    mkdir /mnt/upper /mnt/work /mnt/root &&
    mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root &&
    cd /mnt/root && mkdir -p .host "lib/modules/$kernel" &&
    mount --bind "$modules" "lib/modules/$kernel" &&
    pivot_root . .host && cd / && umount -l /.host && rmdir /.host
}

mount_system_folders() {
  mkdir -p /dev /proc /sys /run &&
    mount -t devtmpfs -o mode=755 dev /dev && mkdir -p /dev/pts /dev/shm &&
    mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts && ln -sf pts/ptmx /dev/ptmx &&
    mount -t tmpfs -o mode=1777 shm /dev/shm &&
    ln -sfT /proc/self/fd /dev/fd && ln -sf fd/0 /dev/stdin && ln -sf fd/1 /dev/stdout &&
    ln -sf fd/2 /dev/stderr &&
    mount -t proc proc /proc && mount -t sysfs sys /sys && mount -t cgroup2 cgroup2 /sys/fs/cgroup &&
    mount -t tmpfs -o mode=755 run /run && mkdir -m 1777 /run/lock
}

# The one folder whose changes stay.
mount_output_folder() {
  mkdir -p "$out"
  case $machine in
  uml) mount -t hostfs -o "$out" out "$out" ;;
  qemu) mount -t virtiofs host /mnt && mount --bind "/mnt$out" "$out" && umount /mnt ;;
  esac
}

name_localhost() {
  echo localhost >/proc/sys/kernel/hostname
  grep -qw localhost /etc/hosts || echo "127.0.0.1 localhost" >>/etc/hosts
  ip link set lo up
}

# What a hung test needs to be understood: the tasks that wait in the kernel, and all processes.
describe_hang() {
  echo w >/proc/sysrq-trigger
  for process in /proc/[0-9]*; do
    arguments=$(tr '\0\n' '  ' <"$process/cmdline" | cut -c1-160)
    [ -n "$arguments" ] || continue
    state=$(sed -n 's/^State:\t\(.\).*/\1/p' "$process/status")
    echo "hung: pid ${process#/proc/} $state $arguments"
  done >/dev/kmsg
}

mount -t proc proc /proc
echo 1 >/proc/sys/kernel/panic_on_oops
mapfile -d '' -t settings <"$job/settings"
cwd=${settings[0]} out=${settings[1]} timeout=${settings[2]} tty=${settings[3]}
mount_host_tree_copy_on_write || die "cannot put a tmpfs over the host's tree"
mount_system_folders && [ -c "$control" ] || die "cannot mount /dev, /proc, /sys and the like, or there is no $control"
name_localhost || die "cannot bring up the loopback network"
modprobe -a nfs nfsv4 fuse || die "cannot load the NFS client's modules"
mount_output_folder || die "cannot mount the output folder $out"

# User-mode Linux has terminals as its lines: raw keeps every byte as it is.
for line in "$stdout" "$stderr" "$control"; do [ "$machine" = qemu ] || stty -F "$line" raw -echo; done
mkfifo /run/stdout /run/stderr
cat /run/stdout >"$stdout" &
relays=$!
cat /run/stderr >"$stderr" &
relays="$relays $!"

mapfile -d '' -t environment <"$job/env"
mapfile -d '' -t command <"$job/argv"
tell "ready $kernel"
cd "$cwd" || die "no folder $cwd"
# A shell's background jobs ignore these signals, which the command must not inherit.
clean_env=(env -i --default-signal=INT,QUIT "${environment[@]}")
if [ "$tty" = yes ]; then
  "${clean_env[@]}" setsid --ctty "${command[@]}" <"$terminal" >"$terminal" 2>&1 &
  child=$!
  : >/run/stdout 2>/run/stderr
else
  "${clean_env[@]}" setsid "${command[@]}" </dev/null >/run/stdout 2>/run/stderr &
  child=$!
fi
(
  sleep "$timeout"
  describe_hang
  tell timeout
) &
wait "$child"
status=$?

# A process that outlives the command may keep its output open: take what is there, then end.
(
  sleep 2
  kill $relays
) &
wait $relays
for line in "$stdout" "$stderr"; do [ "$machine" = qemu ] || stty -F "$line" drain raw; done
cd /
umount "$out" || sync
tell "exit $status"
while :; do sleep 3600; done
