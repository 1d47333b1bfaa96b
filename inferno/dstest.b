implement Dstest;

#
# What sh cannot check of a dsfs server: error strings, offsets, many processes at once, a read that
# is killed while it waits, a server that is killed and comes back, and the admin tree's event file.
#
#	dstest [-s slow] [-k file] addr dir
#
# addr is the server's dial string. dir is a directory that has the same name here and in the
# server's name space; what is made in it is removed. -s: dstest serves a file there that does not
# answer until it is told to; slow is a dial string, which the server's name space mounts on
# /n/slow. -k: who makes that file away has killed the server and started it again.
# Prints a line for each check, and last "N passed, N failed".
#

include "sys.m";
	sys: Sys;
	sprint: import sys;
include "draw.m";
include "arg.m";
include "styx.m";
	styx: Styx;
	Tmsg, Rmsg: import styx;

Dstest: module
{
	init:	fn(nil: ref Draw->Context, args: list of string);
};

Legsize:	con 65536;
Workers:	con 8;
Rounds:		con 25;
Patience:	con 30*1000;	# ms: far more than anything here takes
Kills:		con 3;		# one that emu loses is rare
Mnt:		con "/n/remote";

passed := 0;
failed := 0;
addr, dir: string;

init(nil: ref Draw->Context, args: list of string)
{
	sys = load Sys Sys->PATH;
	styx = load Styx Styx->PATH;
	styx->init();
	arg := load Arg Arg->PATH;
	arg->init(args);
	arg->setusage("dstest [-s slow] [-k file] addr dir");
	slow, killer: string;
	while((c := arg->opt()) != 0)
		case c {
		's' =>	slow = arg->earg();
		'k' =>	killer = arg->earg();
		* =>	arg->usage();
		}
	args = arg->argv();
	if(len args != 2)
		arg->usage();
	(addr, dir) = (hd args, hd tl args);

	for(leg := 0; leg < 4; leg++)
		newfile(legname(leg), Legsize);
	if(!mount(Mnt, ""))
		fatal(sprint("cannot mount %s: %r", addr));
	errors();
	offsets();
	appends();
	atonce();
	if(slow != nil)
		flushed(slow);
	else
		skip("a killed read: no -s");
	events();
	if(killer != nil)
		lost(killer);
	else
		skip("a lost server: no -k");
	sys->unmount(nil, Mnt);
	for(leg = 0; leg < 4; leg++)
		sys->remove(legname(leg));

	sys->print("%d passed, %d failed\n", passed, failed);
	if(failed)
		raise "fail:failed";
}

# Each error is the text that ds(3) has, exactly.
errors()
{
	same("cat", ctl("cat dt0 "+legname(0)+" "+legname(1)), "");
	same("mirror", ctl("mirror dtm "+legname(2)+" "+legname(3)), "");
	same("a name that is taken", ctl("cat dt0 "+legname(0)), "file already exists");
	same("no message", ctl(""), "empty control message");
	same("an unknown message", ctl("frob dt1 x"), "unknown control message \"frob dt1 x\"");
	same("too few words", ctl("part dt1 "+legname(0)), "wrong #args in control message \"part dt1 "+legname(0)+"\"");
	same("a missing file", ctl("cat dt1 "+dir+"/nosuch"), "'"+dir+"/nosuch' does not exist");
	same("a directory", ctl("cat dt1 "+dir), "permission denied");
	same("nine files", ctl("cat dt1 a b c d e f g h i"), "too many devices; fix me");
	same("a slash in a name", ctl("cat a/b "+legname(0)), "bad character in file name: a/b");
	same("junk for a number", ctl("part dt1 "+legname(0)+" 1x 2"), "bad arg in system call");
	same("open a missing device", opened(Mnt+"/nosuch", Sys->OREAD), "'"+Mnt+"/nosuch' file does not exist");
	same("walk through a file", opened(Mnt+"/ctl/x", Sys->OREAD), "'"+Mnt+"/ctl' not a directory");
	same("open the directory for writing", opened(Mnt, Sys->OWRITE), "permission denied");
	r := sys->remove(Mnt+"/dt0");
	same("remove", result(r), "permission denied");
	d := sys->nulldir;
	d.name = "other";
	same("rename", result(sys->wstat(Mnt+"/dt0", d)), "permission denied");
	same("a wstat that changes nothing", result(sys->wstat(Mnt+"/dt0", sys->nulldir)), "");
	if(sys->create(Mnt+"/new", Sys->OWRITE, 8r666) != nil)
		no("create is refused", "it was created");
	else
		ok("create is refused");
}

offsets()
{
	fd := sys->open(Mnt+"/dt0", Sys->ORDWR);
	if(fd == nil)
		return no("open for reading and writing", sprint("%r"));
	(nil, d) := sys->fstat(fd);
	same("length", string d.length, string (2*Legsize));
	vers := d.qid.vers;
	places := array[] of {0, 1, 8191, 8192, Legsize-7, Legsize, 2*Legsize-20};
	for(i := 0; i < len places; i++)
		roundtrip(fd, places[i], 20);
	roundtrip(fd, Legsize-6000, 12000);
	buf := array[100] of byte;
	samen("a read across the end", sys->pread(fd, buf, 100, big (2*Legsize-40)), 40);
	samen("a read at the end", sys->pread(fd, buf, 100, big (2*Legsize)), 0);
	samen("a read far out", sys->pread(fd, buf, 100, big 1 << 62), 0);
	samen("a write across the end", sys->pwrite(fd, buf, 100, big (2*Legsize-40)), 40);
	samen("a write at the end", sys->pwrite(fd, buf, 100, big (2*Legsize)), 0);
	if(sys->pread(fd, buf, 100, big -1) < 0)
		ok("a negative offset is refused");
	else
		no("a negative offset is refused", "it was read");
	(nil, d) = sys->fstat(fd);
	if(d.qid.vers != vers)
		ok("the version moves with a write");
	else
		no("the version moves with a write", string vers);
}

roundtrip(fd: ref Sys->FD, at, n: int)
{
	what := sprint("%d bytes at %d", n, at);
	out := array[n] of byte;
	for(i := 0; i < n; i++)
		out[i] = byte (at+3*i+1);
	if(sys->pwrite(fd, out, n, big at) != n)
		return no(what, sprint("write: %r"));
	back := array[n] of byte;
	r := 0;
	for(got := 0; got < n; got += r){
		r = sys->pread(fd, back[got:], n-got, big (at+got));
		if(r <= 0)
			return no(what, sprint("read of %d at %d: %d %r", n-got, at+got, r));
	}
	if(equal(out, back))
		ok(what);
	else
		no(what, "other bytes come back");
}

# As sh's >>: a seek to the end, and a write there.
appends()
{
	fd := sys->open(Mnt+"/ctl", Sys->OWRITE);
	sys->seek(fd, big 0, Sys->SEEKEND);
	m := array of byte ("part dt2 "+legname(0)+" 10 20\n");
	samen(">>ctl", sys->write(fd, m, len m), len m);
	m = array of byte ("part dt3 "+legname(0)+" 30 40\n");
	samen("a second message on the same fd", sys->write(fd, m, len m), len m);
	fd = sys->open(Mnt+"/dt2", Sys->OWRITE|Sys->OTRUNC);
	if(fd == nil)
		no("OTRUNC", sprint("%r"));
	(nil, d) := sys->stat(Mnt+"/dt2");
	same("OTRUNC leaves a device as it is", string d.length, "20");
}

# Several processes write and read ranges of one mirror; afterwards its legs are equal.
atonce()
{
	done := chan of string;
	for(w := 0; w < Workers; w++)
		spawn worker(w, done);
	bad := "";
	for(w = 0; w < Workers; w++)
		if((s := <-done) != nil)
			bad = s;
	same(sprint("%d processes on one mirror", Workers), bad, "");
	a := contents(legname(2));
	b := contents(legname(3));
	if(len a == Legsize && equal(a, b))
		ok("its legs are equal");
	else
		no("its legs are equal", sprint("%d and %d bytes, or others", len a, len b));
}

worker(w: int, done: chan of string)
{
	fd := sys->open(Mnt+"/dtm", Sys->ORDWR);
	if(fd == nil){
		done <-= sprint("worker %d: open: %r", w);
		return;
	}
	n := Legsize/Workers/2;
	buf := array[n] of byte;
	back := array[n] of byte;
	for(round := 0; round < Rounds; round++){
		# The even halves are each worker's own; the odd ones all write alike.
		at := w*2*n;
		for(i := 0; i < n; i++)
			buf[i] = byte (w+round+i);
		if(sys->pwrite(fd, buf, n, big at) != n || sys->pread(fd, back, n, big at) != n){
			done <-= sprint("worker %d: %r", w);
			return;
		}
		if(!equal(buf, back)){
			done <-= sprint("worker %d reads what it did not write", w);
			return;
		}
		if(sys->pwrite(fd, buf, n, big n) != n){
			done <-= sprint("worker %d: %r", w);
			return;
		}
	}
	done <-= nil;
}

# A read that waits for another server is killed: Tflush, Rflush, and the process is gone. What
# else there is goes on in the meantime, another read that waits too.
flushed(slow: string)
{
	(r, c) := sys->announce(slow);
	if(r < 0)
		return no("serve "+slow, sprint("%r"));
	asked := chan[16] of int;
	go := chan of int;
	spawn slowlistener(c, asked, go);
	same("a device on a slow server", ctl("part dts /n/slow/file 0 100"), "");
	pids := chan of int;
	ends := chan[1] of string;
	spawn waiter(Mnt+"/dts", "x", pids, ends);
	<-pids;
	if(!within(asked)){
		no("the read waits", "it never came to the slow server");
		return;
	}
	ok("the read waits");
	same("another read goes on", readn(Mnt+"/dt2", 20), "20");
	killwaiting("a killed read is gone", Mnt+"/dts", asked);
	same("and another one still goes on", readn(Mnt+"/dt2", 20), "20");
	spawn opengate(go);
	same("the slow server's file, later", readn(Mnt+"/dts", 100), "100");
	same("and for the read that waits", <-ends, "");
}

# Kills a process that waits in a read of file; asked tells when the read has come to the server.
# emu loses a kill of a process that is not in a system call just then, as the one that reads the
# replies for all is not for a moment after each of them: no Tflush is sent, and no second kill is
# taken. So there may be another try.
killwaiting(what, file: string, asked: chan of int)
{
	for(try := 0; try < Kills; try++){
		pids := chan of int;
		spawn waiter(file, "never", pids, chan[1] of string);
		pid := <-pids;
		if(asked == nil)
			sys->sleep(200);
		else if(!within(asked))
			return no(what, "it never came to the slow server");
		sys->fprint(sys->open("/prog/"+string pid+"/ctl", Sys->OWRITE), "kill");
		if(gone(pid))
			return ok(what);
	}
	no(what, "its process is still there");
}

opengate(go: chan of int)
{
	for(;;)
		go <-= 1;
}

slowlistener(c: Sys->Connection, asked, go: chan of int)
{
	for(;;){
		(r, nc) := sys->listen(c);
		if(r < 0)
			return;
		fd := sys->open(nc.dir+"/data", Sys->ORDWR);
		if(fd != nil)
			spawn slowserver(fd, asked, go);
	}
}

# A file server of one file, /file of 100 bytes, whose reads wait until go is ready.
slowserver(fd: ref Sys->FD, asked, go: chan of int)
{
	root := Sys->Qid(big 1, 0, Sys->QTDIR);
	file := Sys->Qid(big 2, 0, Sys->QTFILE);
	fids := array[256] of int;
	flush := array[256] of chan of int;
	while((gm := Tmsg.read(fd, 0)) != nil){
		rm: ref Rmsg;
		pick m := gm {
		Version =>
			rm = ref Rmsg.Version(m.tag, 8216, "9P2000");
		Attach =>
			fids[m.fid%len fids] = 1;
			rm = ref Rmsg.Attach(m.tag, root);
		Walk =>
			qids := array[len m.names] of {* => file};
			fids[m.newfid%len fids] = fids[m.fid%len fids];
			if(len m.names > 0)
				fids[m.newfid%len fids] = 2;
			rm = ref Rmsg.Walk(m.tag, qids);
		Open =>
			rm = ref Rmsg.Open(m.tag, file, 0);
		Stat =>
			d := sys->zerodir;
			(d.name, d.uid, d.gid, d.qid, d.mode, d.length) = ("file", "me", "me", file, 8r666, big 100);
			if(fids[m.fid%len fids] == 1)
				(d.name, d.qid, d.mode, d.length) = ("/", root, Sys->DMDIR|8r777, big 0);
			rm = ref Rmsg.Stat(m.tag, d);
		Read =>
			asked <-= 1;
			slot := m.tag%len flush;
			flush[slot] = chan[1] of int;
			spawn answer(fd, ref Rmsg.Read(m.tag, array[m.count] of {* => byte 'x'}), go, flush[slot]);
			continue;
		Write =>
			rm = ref Rmsg.Write(m.tag, len m.data);
		Clunk =>
			rm = ref Rmsg.Clunk(m.tag);
		Flush =>
			# No answer may come after the Rflush.
			if(flush[m.oldtag%len flush] != nil)
				flush[m.oldtag%len flush] <-= 1;
			flush[m.oldtag%len flush] = nil;
			rm = ref Rmsg.Flush(m.tag);
		Readerror =>
			return;
		* =>
			rm = ref Rmsg.Error(gm.tag, "not here");
		}
		send(fd, rm);
	}
}

answer(fd: ref Sys->FD, rm: ref Rmsg, go, flushed: chan of int)
{
	alt {
	<-flushed =>	;
	<-go =>	send(fd, rm);
	}
}

send(fd: ref Sys->FD, rm: ref Rmsg)
{
	d := rm.pack();
	sys->write(fd, d, len d);
}

# A process waits on the admin tree's event file, and is woken when a mirror loses a leg.
events()
{
	if(!mount("/n/client", "admin"))
		return skip(sprint("event: no admin tree (%r)"));
	got := chan[1] of string;
	pids := chan of int;
	spawn waiter("/n/client/event", "dtm", pids, got);
	pid := <-pids;
	same("an event, while a process waits", message("/n/client/ctl", "fail dtm 1"), "");
	t := timer();
	alt {
	s := <-got =>
		same("event wakes it", s, "");
	<-t =>
		no("event wakes it", sprint("not within %d ms", Patience));
		sys->fprint(sys->open("/prog/"+string pid+"/ctl", Sys->OWRITE), "kill");
	}
	same("and back again", message("/n/client/ctl", "resync dtm"), "");
	killwaiting("a killed wait for an event is gone", "/n/client/event", nil);
	sys->unmount(nil, "/n/client");
}

# Reads until what is read has word in it. Its process is told when file is open.
waiter(file, word: string, pids: chan of int, got: chan of string)
{
	fd := sys->open(file, Sys->OREAD);
	e := sprint("%r");
	pids <-= sys->pctl(0, nil);
	if(fd == nil){
		got <-= e;
		return;
	}
	buf := array[Sys->ATOMICIO] of byte;
	while((n := sys->read(fd, buf, len buf)) > 0)
		if(contains(string buf[0:n], word)){
			got <-= nil;
			return;
		}
	got <-= sprint("%d: %r", n);
}

# The server is killed and comes back: the old mount is an error, a new one works.
lost(killer: string)
{
	fd := sys->open(Mnt+"/dt0", Sys->OREAD);
	newfile(killer, 1);
	for(waited := 0; sys->stat(killer).t0 >= 0; waited += 100){
		if(waited > Patience)
			return no("the server is killed", "by nobody");
		sys->sleep(100);
	}
	buf := array[100] of byte;
	# The text is the emu's own: hungup, or its host's.
	anerror("a read of a lost server", result(sys->pread(fd, buf, 100, big 0)));
	anerror("an open there", opened(Mnt+"/dt0", Sys->OREAD));
	sys->unmount(nil, Mnt);
	if(mount(Mnt, ""))
		ok("a new mount");
	else
		no("a new mount", sprint("%r"));
	same("a device, again", ctl("cat dt0 "+legname(0)+" "+legname(1)), "");
	same("a read of it", readn(Mnt+"/dt0", 100), "100");
}

mount(on, aname: string): int
{
	(r, c) := sys->dial(addr, nil);
	return r >= 0 && sys->mount(c.dfd, nil, on, Sys->MREPL|Sys->MCREATE, aname) >= 0;
}

# Writes one control message: the error, or nothing.
ctl(m: string): string
{
	return message(Mnt+"/ctl", m);
}

message(file, m: string): string
{
	fd := sys->open(file, Sys->OWRITE);
	if(fd == nil)
		return sprint("open: %r");
	m += "\n";
	return result(sys->write(fd, array of byte m, len array of byte m));
}

opened(file: string, mode: int): string
{
	if(sys->open(file, mode) != nil)
		return "";
	return sprint("%r");
}

result(r: int): string
{
	if(r < 0)
		return sprint("%r");
	return "";
}

# Reads n bytes at the start: how many came, or the error.
readn(file: string, n: int): string
{
	fd := sys->open(file, Sys->OREAD);
	if(fd == nil)
		return sprint("open: %r");
	r := sys->read(fd, array[n] of byte, n);
	if(r < 0)
		return sprint("%r");
	return string r;
}

contents(file: string): array of byte
{
	fd := sys->open(file, Sys->OREAD);
	buf := array[Legsize+1] of byte;
	n := 0;
	while((r := sys->read(fd, buf[n:], len buf-n)) > 0)
		n += r;
	return buf[0:n];
}

equal(a, b: array of byte): int
{
	if(len a != len b)
		return 0;
	for(i := 0; i < len a; i++)
		if(a[i] != b[i])
			return 0;
	return 1;
}

newfile(file: string, n: int)
{
	fd := sys->create(file, Sys->OWRITE, 8r666);
	if(fd == nil || sys->write(fd, array[n] of {* => byte 0}, n) != n)
		fatal(sprint("%s: %r", file));
}

legname(leg: int): string
{
	return dir+"/leg"+string leg;
}

timer(): chan of int
{
	c := chan[1] of int;
	spawn sleeper(c);
	return c;
}

sleeper(c: chan of int)
{
	sys->sleep(Patience);
	c <-= 1;
}

within(c: chan of int): int
{
	t := timer();
	alt {
	<-c =>	return 1;
	<-t =>	return 0;
	}
}

gone(pid: int): int
{
	for(waited := 0; waited < Patience; waited += 100){
		if(sys->stat("/prog/"+string pid).t0 < 0)
			return 1;
		sys->sleep(100);
	}
	return 0;
}

contains(s, t: string): int
{
	for(i := 0; i+len t <= len s; i++)
		if(s[i:i+len t] == t)
			return 1;
	return 0;
}

same(what, got, want: string)
{
	if(got == want)
		ok(what);
	else
		no(what, sprint("got \"%s\", not \"%s\"", got, want));
}

anerror(what, got: string)
{
	if(got != "")
		ok(sprint("%s (%s)", what, got));
	else
		no(what, "no error");
}

samen(what: string, got, want: int)
{
	same(what, string got, string want);
}

ok(what: string)
{
	passed++;
	sys->print("ok\t%s\n", what);
}

no(what, why: string)
{
	failed++;
	sys->print("FAIL\t%s: %s\n", what, why);
}

skip(why: string)
{
	sys->print("skipped: %s\n", why);
}

fatal(why: string)
{
	sys->fprint(sys->fildes(2), "dstest: %s\n", why);
	raise "fail:fatal";
}
