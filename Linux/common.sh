# What Linux/run, Linux/test and Linux/debian share: packages, source, the kernels, the small root, and booting. Sourced.

linux=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${KSTACKS_LINUX_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kernelstacks}
version=${1:-6.1}
package=linux-source-$version
source=$cache/$package
archive=${KSTACKS_LINUX_ARCHIVE:-/usr/src/$package.tar.xz}
# What the names of builds and logs begin with; those of Linux 6.1 have no version.
mark= && [ "$version" = 6.1 ] || mark=$version-
kernels=(vmap contiguous kernelstacks growing)
jobs=${KSTACKS_LINUX_JOBS:-$(nproc 2>/dev/null || echo 1)}
step=0
# What a caller has said to make is not for Linux's own: VERSION is a part of its version there.
unset MAKEFLAGS MAKEOVERRIDES MFLAGS VERSION

fail() { echo "$name: $1" >&2; exit 1; }
case $version in 6.1 | 6.12) ;; *) fail "Linux $version is not known here; 6.1 and 6.12 are" ;; esac
say() { step=$((step + 1)); echo "$step. $1"; }

# Packages

# What is needed, as command:package.
tools=(
  aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu qemu-system-aarch64:qemu-system-arm make:make gcc:gcc bc:bc bison:bison
  flex:flex xz:xz-utils flock:util-linux
)
missing_packages() {
  local tool
  for tool in "${tools[@]}"; do
    command -v "${tool%%:*}" >/dev/null || echo "${tool##*:}"
  done
  [ -e /usr/include/openssl/opensslv.h ] || ls /usr/include/*/openssl/opensslv.h >/dev/null 2>&1 || echo libssl-dev
  [ -e "$archive" ] || [ -e "$source/.unpacked" ] || echo "$package"
}

require_packages() {
  local missing root=()
  missing=$(missing_packages)
  if [ -n "$missing" ]; then
    missing=${missing//$'\n'/ }
    command -v apt-get >/dev/null ||
      fail "missing: $missing (names of Debian packages; there is no apt-get here to install them with)"
    if [ "$(id -u)" -ne 0 ]; then
      command -v sudo >/dev/null || fail "missing: $missing; install them with apt-get (there is no sudo to do it with)"
      root=(sudo)
    fi
    echo "   installing $missing"
    # A package list that is missing or out of date makes the first attempt fail.
    local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing)
    { ${root[@]+"${root[@]}"} "${install[@]}" || { ${root[@]+"${root[@]}"} apt-get update -qq &&
      ${root[@]+"${root[@]}"} "${install[@]}"; }; } </dev/null >/dev/null 2>&1 ||
      fail "missing: $missing; apt-get could not install them"
    missing=$(missing_packages)
    [ -z "$missing" ] || fail "missing although installed: ${missing//$'\n'/ }"
  fi
  command -v swiftc >/dev/null || fail "swiftc is not in PATH (Swift 6.3 or later is needed)"
  tools_folder=$(swiftc -print-target-info | sed -n 's/^ *"runtimeResourcePath": *"\(.*\)".*/\1/p' | head -1)/../../bin
  linker=$(PATH="$tools_folder:$PATH" command -v ld.lld) || fail "ld.lld is neither beside swiftc nor in PATH"
}

# Source

require_space() {
  local needed=$1 free
  mkdir -p "$cache" || fail "the cache folder $cache cannot be made"
  free=$(df -Pk "$cache" | awk 'NR == 2 { print int($4 / 1024) }')
  [ "$free" -ge "$needed" ] ||
    fail "$cache has $free MiB free, and $needed MiB are needed: set KSTACKS_LINUX_CACHE to another folder"
}

unpack_source() {
  local wanted
  wanted=$(stat -c '%s %Y' "$archive" 2>/dev/null) || wanted=$(cat "$source/.unpacked" 2>/dev/null) || true
  if [ "$(cat "$source/.unpacked" 2>/dev/null)" != "$wanted" ] || [ -z "$wanted" ]; then
    require_space "${KSTACKS_LINUX_SPACE:-6000}"
    echo "   unpacking $archive"
    rm -rf "$cache/build-$mark"[a-z]* "$source"
    mkdir "$source" && nice -n 10 tar -x -f "$archive" -C "$source" --strip-components=1 ||
      fail "$archive could not be unpacked"
    [ "$(sed -n 's/^\(VERSION\|PATCHLEVEL\) = //p' "$source/Makefile" | tr '\n' .)" = "$version." ] ||
      fail "$archive is not the source of Linux $version"
    echo "$wanted" >"$source/.unpacked"
  fi
  "$linux/apply" --entry-patch "$source"
}

# Kernels

kernel_make() { # kernel, arguments of make
  nice -n 19 make -s -C "$source" O="$cache/build-$mark$1" ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- \
    SWIFT_LD="$linker" "${@:2}"
}

# What growing stacks need of the CPUs; kernels that are compared with them have it too.
armv8_1=(CONFIG_ARM64_HW_AFDBM=y CONFIG_ARM64_USE_LSE_ATOMICS=y)

configuration() { # kernel
  local growing=(CONFIG_SWIFT_KERNEL_STACKS=y CONFIG_SWIFT_KERNEL_STACKS_GROWING=y "${armv8_1[@]}") entry
  entry=CONFIG_SWIFT_KERNEL_STACKS_ENTRY=y
  cat "$linux/minimal.config"
  echo CONFIG_SWIFT_KERNEL_STACKS_TEST=y
  case $1 in
    contiguous) echo '# CONFIG_VMAP_STACK is not set' ;;
    vmap) echo CONFIG_VMAP_STACK=y ;;
    kernelstacks) printf '%s\n' CONFIG_VMAP_STACK=y CONFIG_SWIFT_KERNEL_STACKS=y ;;
    vmap-8.1) printf '%s\n' CONFIG_VMAP_STACK=y "${armv8_1[@]}" ;;
    kernelstacks-8.1) printf '%s\n' CONFIG_VMAP_STACK=y CONFIG_SWIFT_KERNEL_STACKS=y "${armv8_1[@]}" ;;
    growing) printf '%s\n' CONFIG_VMAP_STACK=y "${growing[@]}" "# ${entry%=y} is not set" ;;
    vmap-faulting) printf '%s\n' CONFIG_VMAP_STACK=y "${armv8_1[@]}" CONFIG_JUMP_LABEL=y ;;
    faulting) printf '%s\n' CONFIG_VMAP_STACK=y "${growing[@]}" "$entry" ;;
    checked)
      printf '%s\n' CONFIG_VMAP_STACK=y "${growing[@]}" "$entry" CONFIG_SWIFT_KERNEL_STACKS_CHECK_LENT=y
      printf 'CONFIG_%s=y\n' PREEMPT DEBUG_KERNEL PROVE_LOCKING PROVE_RAW_LOCK_NESTING DEBUG_PREEMPT \
        DEBUG_ATOMIC_SLEEP DEBUG_VM RUNTIME_TESTING_MENU LKDTM HARDENED_USERCOPY
      ;;
    realtime) printf '%s\n' CONFIG_VMAP_STACK=y "${growing[@]}" "$entry" CONFIG_EXPERT=y CONFIG_PREEMPT_RT=y ;;
    realtime-checked)
      printf '%s\n' CONFIG_VMAP_STACK=y "${growing[@]}" "$entry" CONFIG_SWIFT_KERNEL_STACKS_CHECK_LENT=y
      printf 'CONFIG_%s=y\n' EXPERT PREEMPT_RT DEBUG_KERNEL PROVE_LOCKING PROVE_RAW_LOCK_NESTING DEBUG_PREEMPT \
        DEBUG_ATOMIC_SLEEP DEBUG_RT_MUTEXES
      ;;
    groups) printf '%s\n' CONFIG_VMAP_STACK=y "${growing[@]}" "$entry" CONFIG_CGROUPS=y CONFIG_MEMCG=y CONFIG_NUMA=y ;;
    debian-vmap) cat "$linux/debian.config" && printf '%s\n' CONFIG_VMAP_STACK=y "${armv8_1[@]}" ;;
    debian-growing)
      cat "$linux/debian.config" && printf '%s\n' CONFIG_VMAP_STACK=y "${growing[@]}" "# ${entry%=y} is not set"
      ;;
  esac
}

build_kernel() { # kernel
  local build=$cache/build-$mark$1 log=$cache/build-$mark$1.log
  # Kernels that differ in a few files only begin as copies of one.
  local like=
  case $1 in
    kernelstacks) like=$cache/build-${mark}vmap ;;
    *-8.1 | faulting) like=$cache/build-${mark}growing ;;
    vmap-faulting) like=$cache/build-${mark}faulting ;;
    debian-growing) like=$cache/build-${mark}debian-vmap ;;
  esac
  if [ -n "$like" ] && ! [ -d "$build" ] && [ -e "$like/arch/arm64/boot/Image" ]; then
    cp -a "$like" "$build.copy" && mv "$build.copy" "$build"
    rm -f "$build/fragment"
  fi
  mkdir -p "$build"
  if ! configuration "$1" | cmp -s - "$build/fragment"; then
    echo "   $1: configuring"
    { kernel_make "$1" tinyconfig && configuration "$1" >"$build/fragment.new" &&
      "$source/scripts/kconfig/merge_config.sh" -m -O "$build" "$build/.config" "$build/fragment.new" &&
      kernel_make "$1" olddefconfig; } >"$log" 2>&1 </dev/null || fail "$1 could not be configured: see $log"
    mv "$build/fragment.new" "$build/fragment"
  fi
  echo "   $1: building"
  kernel_make "$1" -j"$jobs" Image >"$log" 2>&1 </dev/null ||
    fail "$1 could not be built: $(grep -m1 -E 'error|Error|\*\*\*' "$log" || echo "see $log")"
  check_configuration "$1"
}

# Options that Kconfig did not take would make the comparison mean something else.
check_configuration() { # kernel
  local settings=$cache/build-$mark$1/.config
  case $1 in
    contiguous) ! grep -q '^CONFIG_VMAP_STACK=y' "$settings" ;;
    vmap* | debian-vmap) grep -q '^CONFIG_VMAP_STACK=y' "$settings" && ! grep -q '^CONFIG_SWIFT_KERNEL_STACKS=y' "$settings" ;;
    kernelstacks*) grep -q '^CONFIG_SWIFT_KERNEL_STACKS_WHOLE=y' "$settings" ;;
    growing | debian-growing)
      grep -q '^CONFIG_SWIFT_KERNEL_STACKS_GROWING=y' "$settings" && ! grep -q '^CONFIG_SWIFT_KERNEL_STACKS_ENTRY=y' "$settings"
      ;;
    faulting) grep -q '^CONFIG_SWIFT_KERNEL_STACKS_ENTRY=y' "$settings" ;;
    checked)
      local options='SWIFT_KERNEL_STACKS_CHECK_LENT|SWIFT_KERNEL_STACKS_ENTRY|PREEMPT|PROVE_RAW_LOCK_NESTING'
      options+='|LKDTM|HARDENED_USERCOPY'
      [ "$(grep -cE "^CONFIG_($options)=y" "$settings")" = 6 ]
      ;;
    realtime) [ "$(grep -cE '^CONFIG_(SWIFT_KERNEL_STACKS_ENTRY|PREEMPT_RT)=y' "$settings")" = 2 ] ;;
    realtime-checked)
      [ "$(grep -cE '^CONFIG_(SWIFT_KERNEL_STACKS_CHECK_LENT|SWIFT_KERNEL_STACKS_ENTRY|PREEMPT_RT|PROVE_RAW_LOCK_NESTING)=y' \
        "$settings")" = 4 ]
      ;;
    groups) [ "$(grep -cE '^CONFIG_(SWIFT_KERNEL_STACKS_ENTRY|MEMCG|NUMA)=y' "$settings")" = 3 ] ;;
  esac && grep -q '^CONFIG_SWIFT_KERNEL_STACKS_TEST=y' "$settings" || fail "$1 was not configured as asked: $settings"
}

# The root file system: one program.
build_root() {
  local flags=(-O2 -Wall -Wextra -Werror -nostdlib -static -ffreestanding -fno-stack-protector -fno-pie -no-pie)
  aarch64-linux-gnu-gcc "${flags[@]}" -o "$cache/init" "$linux/init/init.c" || fail "the test program does not compile"
  { cat "$linux/init/files" && echo "file /init $cache/init 0755 0 0"; } >"$cache/files.list"
  "$cache/build-$mark${kernels[0]}/usr/gen_init_cpio" "$cache/files.list" >"$cache/root.cpio" || fail "no root could be made"
}

prepare() {
  say "Packages"
  require_packages
  mkdir -p "$cache" || fail "the cache folder $cache cannot be made"
  exec 9>"$cache/lock"
  flock 9
  say "Linux $version source in $cache"
  unpack_source
  say "Kernels: contiguous stacks, vmalloc stacks, KernelStacks, whole and growing"
  require_space 500
  for kernel in "${kernels[@]}"; do build_kernel "$kernel"; done
  build_root
}

# Booting

# Boots a kernel for an experiment of init.c, with a limit of seconds of processor time for each CPU. One that only waits for
# what never comes is stopped too. The log is in $log; `board` may hold further arguments for QEMU, `parameters` for the
# kernel, `cpu` another CPU than a cortex-a72: `max` sets access flags.
boot() { # kernel, MiB, CPUs, seconds, experiment and arguments
  local kernel=$1 memory=$2 cpus=$3 seconds=$4
  shift 4
  log=$cache/$mark$kernel-$1-$memory-$cpus${2:+-$2}${cpu:+-$cpu}.log
  # One CPU counts instructions exactly; several run in parallel.
  local pace=(-icount "shift=0,sleep=off")
  # On several CPUs at once, except where locks are checked, and where another node's frames serve if a CPU is late: a host
  # that is busy makes interrupts long in the first case, which Linux reports, and its report takes a lock that lockdep
  # reports; in the second it decides whose frames are there in time.
  [ "$cpus" = 1 ] || [[ $kernel == *checked ]] || [ "$1" = nodes ] || pace=(-accel "tcg,thread=multi")
  run_machine "$kernel" "$memory" "$cpus" "$seconds" "${pace[@]}" -nic none -initrd "$cache/root.cpio" \
    -append "console=ttyAMA0 rdinit=/init panic=-1${parameters:+ $parameters} -- $*"
}

run_machine() { # kernel, MiB, CPUs, seconds, further arguments of QEMU
  local kernel=$1 memory=$2 cpus=$3 seconds=$4 status=0
  (ulimit -t $((seconds * cpus)) && LOOKS=${LOOKS:-120} exec "$linux/../Scripts/unless-hung" \
    qemu-system-aarch64 -M virt -cpu "${cpu:-cortex-a72}" -m "${memory}M" -smp "$cpus" \
    ${board[@]+"${board[@]}"} -display none -monitor none -serial stdio -no-reboot \
    -kernel "$cache/build-$mark$kernel/arch/arm64/boot/Image" "${@:5}") </dev/null >"$log.raw" 2>&1 || status=$?
  tr -d '\r' <"$log.raw" >"$log"
  rm -f "$log.raw"
  case $status in
    0) ;;
    124) echo "the guest was stopped: it waited for what never came" >>"$log" ;;
    137) echo "the limit of $((seconds * cpus)) s of processor time was reached" >>"$log" ;;
    *) echo "QEMU ended with status $status: $(tail -1 "$log")" >>"$log" ;;
  esac
}

# A number or text that an experiment reported: the last line of that type; nothing if there is none.
value() { # type, key
  { grep -o "KSTACKS {\"type\":\"$1\".*" "$log" || true; } | tail -1 |
    sed -n "s/.*\"$2\":\"\{0,1\}\([^,}\"]*\).*/\1/p"
}

# The files that an experiment has shown and the kernel's configuration, as a folder that the doctor reads like a machine.
unpack_machine() { # kernel, folder
  rm -rf "$2"
  mkdir -p "$2/boot"
  awk -v root="$2" '
    /^KSTACKS-FILE / { file = folder = root $2; sub(/\/[^\/]*$/, "", folder); system("mkdir -p \"" folder "\""); next }
    /^KSTACKS-END/ { close(file); file = ""; next }
    file != "" { print >file }' "$log"
  [ -s "$2/proc/sys/kernel/osrelease" ] || fail "$1 did not show its memory before its first fork: see $log"
  cp "$cache/build-$mark$1/.config" "$2/boot/config-$(cat "$2/proc/sys/kernel/osrelease")"
}

finished() { grep -q 'KSTACKS {"type":"done"' "$log"; }

# Kernel warnings, each with its line.
warnings() { grep -nE 'WARNING:|BUG:|BUG at|Oops|Call trace|Unable to handle|rcu_sched self-detected|leaked' "$log" || true; }

# The kernel's own words for a fork that failed, or the error that fork returned.
first_failure() {
  local words
  words=$(grep -m1 -oE '[^ ]+: page allocation failure: order:.*|[^ ]+ invoked oom-killer:.*' "$log" || true)
  if grep -q 'Kernel panic' "$log"; then
    words+="${words:+; }$(grep -m1 -oE 'Kernel panic.*' "$log")"
  elif [ -z "$words" ] && [ "$(value forked error)" != 0 ]; then
    words="fork: error $(value forked error)"
  fi
  printf '%s' "$words"
}
succeeded() {
  local count
  count=$(value forked succeeded)
  printf '%s' "${count:-$(value forking succeeded)}"
}
