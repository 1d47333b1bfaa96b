#!/dis/sh.dis
# What Inferno's mount, and what people type after it, does at a dsfs server, beside what ds(3) does too.
#
#	habits.sh ADDR DIR [COMMAND]
#
# ADDR is the server's dial string. DIR is a directory that has the same name here and in the
# server's name space; it is to be empty, and is emptied. COMMAND is a host's command line that
# serves the same name space on its standard input and output: dsfs serve --listen stdio ...
# Prints a line for each check, and last "N passed, N failed"; the status is nil if none failed.

load std

if {! or {~ $#* 2} {~ $#* 3}} {
	echo usage: habits.sh 'tcp!host!port' dir '[command]' >[1=2]
	raise usage
}
(addr dir command) := $*
passed=()
failed=()

# try NAME COMMAND STATUS LINE ...: the command is to end with this status and print these lines.
fn try {
	(name command want lines) := $*
	outcome := ''
	rescue '*' {outcome=$exception} {
		'{'^$command^'}' > $dir/got >[2=1]
		outcome=$status
	}
	{for line in $lines {echo $line}} > $dir/want
	if {and {~ $outcome $want} {cmp -s $dir/got $dir/want > /dev/null}} {
		echo ok $name
		passed=($passed x)
	} {
		echo FAIL $name
		sed 's/^/#	got	/' $dir/got
		sed 's/^/#	want	/' $dir/want
		echo '#	status' $outcome not $want
		failed=($failed x)
	}
}

zeros 1024 8 > $dir/a
zeros 1024 8 > $dir/b

try 'mount -A' 'mount -A $addr /n/remote' ''
try 'a device' 'echo mirror h0 $dir/a $dir/b > /n/remote/ctl' ''
try 'ls' 'ls /n/remote' '' /n/remote/ctl /n/remote/h0
try 'a message to ctl that is none' 'echo frob > /n/remote/ctl' 'write error' 'echo: write error: unknown control message "frob"'
try 'write to the device' 'echo hello > /n/remote/h0' ''
try 'read from it' 'read 6 < /n/remote/h0' '' hello
try 'both legs have it' 'cmp $dir/a $dir/b' ''
try 'a second mount sees it' 'mount -A $addr /n/client; ls /n/client; unmount /n/client' '' /n/client/ctl /n/client/h0
try 'the tree ds' 'mount -A $addr /n/client ds; ls /n/client; unmount /n/client' '' /n/client/ctl /n/client/h0
try 'the tree #k' 'mount -A $addr /n/client ''#k''; ls /n/client/ds; unmount /n/client' '' /n/client/ds/ctl /n/client/ds/h0
try 'a tree that is none' 'mount -A $addr /n/client nosuch' 'mount failed' 'mount: mount failed: unknown attach name'
try 'mount -9, which asks for authentication first' 'mount -9 $addr /n/client; ls /n/client; unmount /n/client' '' /n/client/ctl /n/client/h0
try 'create, which ds(3) refuses' 'mount -Ac $addr /n/client; mkdir /n/client/new' error 'mkdir: can''t create /n/client/new: permission denied'
unmount /n/client
try 'unmount' 'unmount /n/remote' ''

# Without -A a mount wants to authenticate with a key; any key will do to be told not to.
if {ftest -e /dis/auth/createsignerkey.dis} {
	auth/createsignerkey -a rsa -b 512 -k $dir/key me
	try 'mount without -A' 'mount -k $dir/key $addr /n/remote' error 'mount: authentication failed: this server wants no authentication: use mount -A'
} {
	echo skipped: 'mount without -A: there is no createsignerkey here'
}

if {! ~ $#command 0} {
	try 'mount {a command}' 'mount -A {os '^$command^' >[1=0]} /n/remote' ''
	try 'a device there' 'echo cat s0 $dir/a $dir/b > /n/remote/ctl' ''
	try 'cat of its ctl' 'cat /n/remote/ctl' '' 'cat s0 '^$dir^'/a '^$dir^'/b'
	try 'and read' 'read 6 < /n/remote/s0' '' hello
	try 'unmount ends it' 'unmount /n/remote' ''
}

rm -f $dir/a $dir/b $dir/key $dir/got $dir/want
echo $#passed passed, $#failed failed
if {no $failed} {status ''} {raise failed}
