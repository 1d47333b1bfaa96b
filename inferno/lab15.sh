#!/dis/sh.dis
# Lab 15 of the Inferno Programmer's Notebook, played inside emu at a dsfs server.
#
#	lab15.sh ADDR
#
# ADDR is the server's dial string, as in tcp!127.0.0.1!6666. The server's root must be emu's own
# (dsfs serve --root EMUROOT), so that /tmp/chunk0 is the same file for both, and it must have no
# devices yet. Prints the transcript, and last "N passed, N failed"; the status is nil if none
# failed. Makes /tmp/chunk0 to /tmp/chunk9, /tmp/t1 and a directory /tmp/lab15.PID, and removes
# them; touches nothing else.

load std

if {! ~ $#* 1} {
	echo usage: lab15.sh 'tcp!host!port' >[1=2]
	raise usage
}
addr=$1
dir=/tmp/lab15.${pid}
passed=()
failed=()

# A listing without what differs from machine to machine: device number, owner, group and date.
fn masked {
	sed -e 's/ M [0-9]* [^ ]* [^ ]* / M N OWNER OWNER /' -e 's/ [A-Z][a-z][a-z] [0-9][0-9] [ 0-9][0-9][0-9:][0-9][0-9] / DATE /'
}

# play COMMAND LINE ...: does the command, which is to succeed and to print these lines.
fn play {
	(command lines) := $*
	echo '% '^$command
	outcome := ''
	# A redirection that fails ends a shell, not only a command.
	rescue '*' {outcome=$exception} {
		'{'^$command^'}' > $dir/here >[2=1]
		outcome=$status
	}
	cat $dir/here
	masked < $dir/here > $dir/masked
	{for line in $lines {echo $line}} | masked > $dir/lab
	if {and {~ $outcome ''} {cmp -s $dir/masked $dir/lab > /dev/null}} {
		passed=($passed x)
	} {
		failed=($failed x)
		echo '# is not as in the lab, where the status is nil, and it prints' $#lines lines
		sed 's/^/#	/' $dir/lab
		echo '# status' $outcome
	}
}

fn clean {
	cd /
	rm -rf $dir /tmp/t1 /tmp/chunk^(0 1 2 3 4 5 6 7 8 9)
}

mkdir $dir $dir/ds
cd $dir
for i in 0 1 2 3 4 5 6 7 8 9 {
	zeros -v $i 1024 8 > /tmp/chunk^$i
}
mount -A $addr ds
if {! ~ $status ''} {
	echo lab15.sh: cannot mount $addr: start dsfs serve there, with emu''''s root as its --root >[1=2]
	clean
	raise mount
}

play 'echo cat c1 /tmp/chunk2 /tmp/chunk3 >ds/ctl'
play 'echo cat c0 /tmp/chunk0 /tmp/chunk1 >ds/ctl'
play 'echo mirror m0 ds/c0 ds/c1 > ds/ctl'
play 'cat ds/ctl' 'cat c1 /tmp/chunk2 /tmp/chunk3' 'cat c0 /tmp/chunk0 /tmp/chunk1' 'mirror m0 ds/c0 ds/c1'
play 'ls -l ds' '--rw-rw-rw- M 2 caerwyn caerwyn 16384 Jan 01  1970 ds/c0' '--rw-rw-rw- M 2 caerwyn caerwyn 16384 Jan 01  1970 ds/c1' '--rw-rw-rw- M 2 caerwyn caerwyn     0 Jan 01  1970 ds/ctl' '--rw-rw-rw- M 2 caerwyn caerwyn 16384 Jan 01  1970 ds/m0'
play 'cat ds/c0 > /tmp/t1'
play 'cat /tmp/t1 > ds/m0'
play 'cmp ds/c0 ds/c1'
play 'unmount ds'

clean
echo $#passed passed, $#failed failed
if {no $failed} {status ''} {raise failed}
