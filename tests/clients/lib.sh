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
	for _ in $(seq 150); do
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

# shown DOCUMENT CLIENT: what docs/DOCUMENT.md shows for a client: commands, each after a prompt, and
# below it what it prints; with the address of the server that was started.
shown() {
	awk -v fence="\`\`\`$2" '$0 == fence { on = 1; next } /^```/ { on = 0 } on' "$top/docs/$1.md" |
		sed "s/127\.0\.0\.1!6666/127.0.0.1!$port/; s/port=6666/port=$port/"
}

# as_script SHELL: commands that are shown, as a script that shows and does each, for rc, which
# doubles quotes, as Inferno's sh does, or for sh.
as_script() {
	awk -v shell="$1" '
		BEGIN { quote = shell == "rc" ? "\047\047" : "\047\\\\\047\047" }
		/^[;%$#] / { line = $0; gsub(/\047/, quote, line); print "echo \047" line "\047"; print substr($0, 3) }'
}

# Lines without what differs from machine to machine: a listing's device, owner, group and date.
masked() {
	sed -e 's/ M [0-9]* [^ ]* [^ ]* / M N OWNER OWNER /' \
		-e 's/ [A-Z][a-z][a-z]  *[0-9][0-9]*  *[0-9][0-9:]* / DATE /'
}

# start_documented DOCUMENT DIR: a server as the document has it for its clients, with a new DIR.
start_documented() {
	mkdir -p "$2/disks/tmp"
	head -c 8192 /dev/zero >"$2/disks/tmp/chunk0"
	head -c 8192 /dev/zero >"$2/disks/tmp/chunk1"
	start_server "$2/log" 'tcp!127.0.0.1!0' --root "$2/disks"
	[ "$1" = tutorial ] || return 0
	# Its own lines make the disks and the devices. Those that are refused are part of it.
	(cd "$2" && eval "$(sed -n -e '/^```inferno/q' -e 's/^\$ dsfs \(zeros .*\)/"$dsfs" \1/p' \
		-e 's/^\$ dsfs \(ctl [a-z].*\)/"$dsfs" \1 -a "$addr"/p' "$top/docs/tutorial.md")") 2>/dev/null
}

# documented CLIENT SHELL DIR: types what the documents show for a client, by `type_in SCRIPT`, whose
# output is to be what they show.
documented() {
	for document in clients tutorial; do
		grep -q "^\`\`\`$1\$" "$top/docs/$document.md" || continue
		stop_server
		start_documented $document "$3/$document"
		shown $document "$1" >"$3/shown"
		as_script "$2" <"$3/shown" >"$3/typed"
		same "docs/$document.md" "$(type_in "$3/typed" | masked)" "$(masked <"$3/shown")"
	done
	stop_server
}
