# What the scripts here and inferno/run share: the program, a server of it, and the count of checks.
# Read by `.` into a POSIX shell, with $top set to the project's directory. It ends no process but
# the servers that it started.

passed=0
failed=0
server=

# pass NAME; fail NAME [WHY]: a line for a check.
pass() { passed=$((passed + 1)); echo "ok	$1"; }
fail() { failed=$((failed + 1)); echo "FAIL	$1${2:+: $2}"; }

# check NAME COMMAND...: passes if the command succeeds.
check() {
	name=$1
	shift
	if "$@"; then pass "$name"; else fail "$name"; fi
}

# same NAME GOT WANT: passes if the two texts are equal.
same() {
	if [ "$2" = "$3" ]; then
		pass "$1"
	else
		fail "$1"
		printf '%s\n' "$2" | sed 's/^/#	got	/'
		printf '%s\n' "$3" | sed 's/^/#	want	/'
	fi
}

# The last line, and the exit status.
summary() {
	echo "$passed passed, $failed failed"
	[ "$failed" -eq 0 ]
}

# skip WHY: the client is not on this machine, which is no failure.
skip() {
	echo "skipped: $1"
	exit 0
}

# Sets dsfs: $DSFS, else what cargo builds.
find_dsfs() {
	dsfs=${DSFS:-}
	if [ -z "$dsfs" ]; then
		cargo build --quiet --release --manifest-path "$top/Cargo.toml" || exit 1
		dsfs=${CARGO_TARGET_DIR:-$top/target}/release/dsfs
	fi
	[ -x "$dsfs" ] || { echo "$dsfs is no program; set DSFS to a dsfs" >&2; exit 1; }
}

# start_server LOG ADDR OPTION...: a server at ADDR; sets server, its process id, addr, where it
# listens in fact, and port, of that.
start_server() {
	log=$1
	at=$2
	shift 2
	rm -f "$log"
	"$dsfs" serve --listen "$at" "$@" >"$log" 2>&1 &
	server=$!
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		addr=$(sed -n 's/^\(tcp![^:]*\): Inferno.*/\1/p' "$log" 2>/dev/null)
		[ -n "$addr" ] && break
		kill -0 "$server" 2>/dev/null || break
		sleep 0.2
	done
	[ -n "$addr" ] || { echo "the server did not start:" >&2; cat "$log" >&2; exit 1; }
	port=${addr##*!}
}

# Ends the server: stop_server, or at once: stop_server KILL.
stop_server() {
	[ -n "$server" ] || return 0
	kill -s "${1:-TERM}" "$server" 2>/dev/null
	wait "$server" 2>/dev/null
	server=
}

# pattern SEED SIZE: bytes that are different in every place, and the same each time.
pattern() {
	awk -v seed="$1" -v size="$2" 'BEGIN {
		for (i = 0; i < size / 16; i++) printf "%05d %09d\n", seed, i
	}' | head -c "$2"
}
