#!/dis/sh.dis
# One list of commands, at the kernel's own ds(3) and at a dsfs server, compared: what each command
# prints, its errors and $status, and at the end the bytes of all files.
#
#	devds.sh ADDR DIR
#
# ADDR is the server's dial string. DIR is a directory that has the same name here and in the
# server's name space; it is to be empty, and is emptied. The server must have no devices yet, nor
# must the kernel. Prints a line for each command, and last "N passed, N failed"; the status is nil if
# none failed. Where the emu has no #k there is nothing to compare with, and it says so.
#
# Not in the list: what docs/compatibility.md has as a deviation.

load std expr

if {! ~ $#* 2} {
	echo usage: devds.sh 'tcp!host!port' dir >[1=2]
	raise usage
}
(addr dir) := $*
passed=()
failed=()

bind -a '#k' /dev > /dev/null >[2=1]
if {! ftest -e /dev/ds/ctl} {
	echo skipped: 'this emu has no #k to compare with'
	echo 0 passed, 0 failed
	exit
}
mount -A $addr /n/remote '#k'
if {! ~ $status ''} {
	echo devds.sh: cannot mount $addr >[1=2]
	raise mount
}

# The commands, done in the directory with ctl and the devices; $f is where the files are. The
# names of inner devices are those that both sides know.
commands=(
	'cat ctl'
	'ls -l'
	'echo cat c0 $f/a $f/b > ctl'
	'echo cat c1 $f/c $f/d > ctl'
	'echo mirror m0 /dev/ds/c0 /dev/ds/c1 > ctl'
	'echo inter i0 $f/e $f/f > ctl'
	'echo part p0 $f/g 100 1000 > ctl'
	'echo part p1 $f/g 8000 100000 > ctl'
	'echo part p2 $f/g 100000 1 > ctl'
	'echo cat empty > ctl'
	'cat ctl'
	'ls -l'
	'ls -l c0 ctl'
	'echo > ctl'
	'echo -n > ctl'
	'echo frob > ctl'
	'echo frob a b c > ctl'
	'echo CAT c9 $f/a > ctl'
	'echo cat c0 $f/a > ctl'
	'echo cat c9 $f/nosuch > ctl'
	'echo cat c9 $f/nosuch/deeper > ctl'
	'echo cat c9 $f > ctl'
	'echo cat c9 $f/a/b > ctl'
	'echo cat c9 a b c d e f g h i > ctl'
	'echo cat a/b $f/a > ctl'
	'echo part p9 $f/a > ctl'
	'echo part p9 $f/a 1 > ctl'
	'echo part p9 $f/a 1 2 3 > ctl'
	'echo part p9 > ctl'
	'echo ''cat c9 ''''unclosed'' > ctl'
	'cat ctl'
	'sum c0'
	'sum m0 i0 p0 p1'
	'cat nosuch'
	'cat nosuch/deeper'
	'cat ctl/deeper'
	'rm c0'
	'rm ctl'
	'mv c0 c9'
	'chmod 600 c0'
	'mkdir new'
	'echo hello > c0'
	'dd -if c0 -of $f/out -bs 100 -count 1; sum $f/out'
	'echo again >> p0'
	'echo again >> ctl'
	'echo part p8 $f/g 1 2 >> ctl'
	'{echo part p6 $f/g 1 2; echo part p7 $f/g 3 4} > ctl'
	'{echo part p5 $f/g 1 2; echo frob; echo part p4 $f/g 3 4} > ctl'
	'cat ctl'
	'cat $f/new > m0'
	'cmp m0 $f/new'
	'cmp c0 c1'
	'cat $f/new > i0'
	'cmp i0 $f/new'
	'cat $f/new > p0'
	'dd -if $f/new -of p1 -bs 50 -count 3'
	'dd -if p1 -of $f/out -bs 64 -skip 1; sum $f/out'
	'cat $f/new > c0/deeper'
	'cat . | wc -c'
	'sum c0 c1 m0 i0 p0 p1 p2 p4 p5 p6 p7 p8'
	'ls -l'
	'cp c0 $f/copied'
	'cmp c0 $f/copied'
)

# Files of which no two are alike, and some not of whole blocks; their inode stays.
fn files {
	mkdir -p $dir/f
	for i in a b c d e f g {
		{
			for j in 0 1 2 3 4 5 6 7 8 9 {
				echo $i $j this is what the file $i has in its line $j
			}
			zeros 1024 16
		} > $dir/f/$i
	}
	sed 's/this/that/' < $dir/f/a > $dir/f/new
	rm -f $dir/f/copied $dir/f/out
}

# A listing without what differs: type and device number, owner, group, date.
fn masked {
	sed -e 's/ [Mk] [0-9]* [^ ]* [^ ]* / TYPE OWNER /' -e 's/ [A-Z][a-z][a-z] [0-9][0-9] [ 0-9][0-9][0-9:][0-9][0-9] / DATE /'
}

# play SIDE DIRECTORY: does all of it there; the outcome of command N is in $dir/SIDE/N.
fn play {
	(side at) := $*
	f=$dir/f
	mkdir $dir/$side
	cd $at
	n=0
	for command in $commands {
		n=${expr $n 1 +}
		outcome := ''
		# A redirection that fails ends a shell, not only a command.
		rescue '*' {outcome=$exception} {
			'{'^$command^'}' > $dir/$side/out >[2=1]
			outcome=$status
		}
		{masked < $dir/$side/out; echo status $outcome} > $dir/$side/$n
	}
	cd /
	{cd $f; sum *; cd /} > $dir/$side/bytes
}

files
play kernel /dev/ds
files
play dsfs /n/remote/ds
unmount /n/remote

fn compare {
	(name file) := $*
	if {cmp -s $dir/kernel/$file $dir/dsfs/$file > /dev/null} {
		echo ok $name
		passed=($passed x)
	} {
		echo FAIL $name
		sed 's/^/#	#k	/' $dir/kernel/$file
		sed 's/^/#	dsfs	/' $dir/dsfs/$file
		failed=($failed x)
	}
}
n=0
for command in $commands {
	n=${expr $n 1 +}
	compare $command $n
}
compare 'the bytes of the files' bytes
rm -rf $dir/f $dir/kernel $dir/dsfs
echo $#passed passed, $#failed failed
if {no $failed} {status ''} {raise failed}
