# What the scripts share that boot Linux in a virtual machine: qemu, which needs no KVM, with Debian's
# kernel, which is unpacked and never installed. Read by `.` after lib.sh, with $dir set to an empty
# directory.
#
# KERNEL    the kernel's image, with MODULES, its /lib/modules/VERSION, if not one that is found here
# LIMIT     seconds that the machine may take; 600 if not set
#
# What is missing is installed if this runs as root with CI=true, and otherwise named.

limit=${LIMIT:-600}
sbin=$PATH:/usr/sbin:/sbin
machine=
# The kernel that was fetched, for the next time.
fetched=${CARGO_TARGET_DIR:-$top/target}/machine

may_install() { [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

# missing WHAT: ends, as a failure only where it should have been there.
missing() {
	[ "${CI:-}" = true ] && { echo "missing: $1" >&2; exit 1; }
	skip "$1"
}

# programs PACKAGES PROGRAM...: sees to it that the programs, which are of these packages, are here.
programs() {
	packages=$1
	shift
	lacks=
	for program; do
		PATH=$sbin command -v "$program" >/dev/null || lacks="$lacks $program"
	done
	[ -z "$lacks" ] && return
	may_install || missing "no$lacks here; install $packages"
	echo "installing $packages"
	{ apt-get update && apt-get install -y --no-install-recommends $packages; } >"$dir/apt" 2>&1 ||
		{ tail -5 "$dir/apt" >&2; missing "$packages could not be installed"; }
}

# Sets kernel and modules: what was given, an installed kernel that has 9p, or a package's.
find_kernel() {
	kernel=${KERNEL:-}
	modules=${MODULES:-}
	[ -n "$kernel" ] && return
	for modules in /lib/modules/* "$fetched"/lib/modules/*; do
		kernel=${modules%/lib/modules/*}/boot/vmlinuz-${modules##*/}
		has_9p && [ -r "$kernel" ] && return
	done
	may_install || missing 'no kernel with 9p in /boot; set KERNEL and MODULES, or run as root with CI=true'
	image=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*-amd64\)$/\1/p' | head -1)
	(cd "$dir" && apt-get download -o APT::Sandbox::User=root "${image:-linux-image-amd64}") >"$dir/apt" 2>&1 ||
		{ tail -5 "$dir/apt" >&2; missing 'no kernel could be fetched'; }
	dpkg -x "$dir"/linux-image-*.deb "$dir/kernel"
	rm -rf "$fetched" "$dir"/linux-image-*.deb
	mkdir -p "${fetched%/*}"
	mv "$dir/kernel" "$fetched"
	kernel=$(echo "$fetched"/boot/vmlinuz-*)
	modules=$(echo "$fetched"/lib/modules/*)
	has_9p || missing "$image has no 9p"
}

has_9p() { [ -n "$(find "$modules/kernel/fs/9p" -name '9p.ko*' 2>/dev/null)" ]; }

# copy_modules ROOT: the few of thousands that guests ask for.
copy_modules() {
	to=$1/lib/modules/${modules##*/}
	mkdir -p "$to"
	(cd "$modules" && find kernel -path '*/fs/9p/*' -o -path '*/net/9p/*' -o -path '*/fs/ext4/*' \
		-o -path '*/fs/jbd2/*' -o -path '*/fs/fscache/*' -o -path '*/fs/netfs/*' -o -name 'mbcache.ko*' \
		-o -name 'loop.ko*' -o -name 'autofs4.ko*' -o -path '*/drivers/virtio/*' -o -name 'virtio_net.ko*' -o -name 'virtio_blk.ko*' \
		-o -name 'net_failover.ko*' -o -name 'failover.ko*' -o -name 'crc16.ko*' \
		-o -name 'inet_diag.ko*' -o -name 'tcp_diag.ko*' \
		-o -name 'libcrc32c.ko*' -o -name 'crc32c_generic.ko*' -o -name 'crc32c-cryptoapi.ko*') |
		grep '\.ko' | (cd "$modules" && busybox cpio -o -H newc 2>/dev/null) |
		(cd "$to" && busybox cpio -idm 2>/dev/null)
	find "$to" -name '*.ko.xz' -exec xz -d {} +
	find "$to" -name '*.ko.zst' -exec zstd -q -d --rm {} +
	cp "$modules"/modules.builtin "$modules"/modules.order "$to"
	busybox depmod -b "$1" "${modules##*/}"
}

# start_initramfs ROOT INIT: begins the root that the kernel starts with: busybox, the modules, and
# the script INIT as its first process.
start_initramfs() {
	mkdir -p "$1/bin" "$1/sbin" "$1/proc" "$1/sys" "$1/dev"
	cp "$(command -v busybox)" "$1/bin/busybox"
	for applet in $(busybox --list); do
		ln -s busybox "$1/bin/$applet" 2>/dev/null
	done
	copy_modules "$1"
	cp "$2" "$1/init"
	chmod 755 "$1/init"
}

# pack_initramfs ROOT: when all is in it.
pack_initramfs() {
	(cd "$1" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$dir/initrd"
}

# boot PARAMETERS OPTION...: starts the machine, with these parameters of the kernel and options of
# qemu. Sets machine, its process id; what it says goes to $dir/console.
boot() {
	parameters=$1
	shift
	: >"$dir/console"
	# On a busy host no tick may come while the kernel waits for one: no_timer_check has it go on.
	timeout "$limit" qemu-system-x86_64 -m 512 -nographic -monitor none -serial "file:$dir/console" \
		-kernel "$kernel" -initrd "$dir/initrd" \
		-append "console=ttyS0 quiet no_timer_check panic=-1 $parameters" "$@" >"$dir/qemu" 2>&1 &
	machine=$!
}

# ended: waits for the machine's end, shows what it said, and takes over its count of checks, which it
# says last.
ended() {
	wait "$machine"
	status=$?
	machine=
	tr -d '\r' <"$dir/console" | grep -v '^HOST:'
	[ $status = 124 ] && fail 'the machine ends' "not within $limit s"
	tr -d '\r' <"$dir/console" | grep '^[0-9]* passed, [0-9]* failed$' | tail -1 >"$dir/last"
	read -r passed _ failed _ <"$dir/last"
	case $passed$failed in
	*[!0-9]* | '') passed=0 failed=1; cat "$dir/qemu" ;;
	esac
}
