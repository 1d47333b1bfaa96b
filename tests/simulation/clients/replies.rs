//! What a client makes of what it is told: whether each answer is right for what was asked, and comes
//! once, and never after the Rflush.

use dsfs::event_loop::connection::Stream;
use styx::frame::split_frame;
use styx::{NOFID, Rmsg, Tmsg, VERSION, enames};

use super::{Ask, Asked, Client, Phase, ROOT, Scene, forget};

impl Client {
    /// Takes what has come.
    pub fn ready(&mut self, scene: &mut Scene<'_>) {
        self.pump();
        while let Some(end) = &self.end {
            match end.read(&mut self.input, 1 << 20) {
                Ok(0) => return self.hung_up(scene),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => return self.hung_up(scene),
            }
            loop {
                let split = split_frame(&self.input, 1 << 20).expect("frames");
                let Some((frame, _)) = split else { break };
                let frame = frame.to_vec();
                self.input.take_off(frame.len());
                assert!(
                    frame.len() as u32 <= self.msize || self.phase == Phase::Greeting,
                    "a reply is longer than the msize"
                );
                self.reply(&frame, scene);
            }
        }
    }

    /// The server has hung up, or is no more.
    fn hung_up(&mut self, scene: &mut Scene<'_>) {
        let told = self.end.as_ref().is_some_and(|end| !end.is_cut());
        assert!(
            !told || self.last,
            "client {}: the server hung up, for no reason: {:?}",
            self.number,
            self.asked
        );
        if self.last && told {
            let left: Vec<&Asked> = self.asked.values().collect();
            assert!(left.is_empty(), "the last answers did not come: {left:?}");
        }
        self.vanish(scene.model);
    }

    fn reply(&mut self, frame: &[u8], scene: &mut Scene<'_>) {
        let (tag, reply) = Rmsg::decode(frame).expect("an R-message");
        scene.digest.add(u64::from(tag) << 8 | u64::from(reply.mtype()));
        let Some(asked) = self.asked.remove(&tag) else {
            panic!("client {}: nothing waits for tag {tag}: {reply:?}", self.number);
        };
        scene.digest.tell(|| {
            let kind = match &reply {
                Rmsg::Error { ename } => (*ename).to_owned(),
                reply => reply.mtype().to_string(),
            };
            format!("{}: client {} is told {kind}: {asked:?}", scene.model.clock, self.number)
        });
        let wrong =
            |what: &str| -> ! { panic!("client {}: {what}: {reply:?} to {asked:?}", self.number) };
        let strict = asked.began >= scene.strict;
        if let Rmsg::Error { ename } = &reply {
            match &asked.ask {
                Ask::Wrong | Ask::Order => {}
                Ask::Flush { .. } => wrong("a flush can't fail"),
                // What was not synced when a server went may be lost, and the next sync says so once,
                // whenever it comes.
                Ask::Sync { .. } if scene.strict > 0 && *ename == enames::EAWAY => {}
                _ if strict => wrong("it should not fail"),
                _ => {}
            }
            scene.digest.add_bytes(ename.as_bytes());
            return self.failed(asked, scene);
        }
        match (asked.ask, &reply) {
            (Ask::Version, Rmsg::Version { msize, version }) => {
                assert!(*version == VERSION && *msize <= self.msize);
                self.begun(*msize, scene);
            }
            (Ask::Attach, Rmsg::Attach { .. }) => self.phase = Phase::Here,
            (Ask::Walk { fid }, Rmsg::Walk { .. }) => {
                self.fids.get_mut(&fid).expect("it is new").busy = false;
            }
            (Ask::Open { fid }, Rmsg::Open { .. }) => {
                let fid = self.fids.get_mut(&fid).expect("it is there");
                (fid.open, fid.busy) = (true, false);
            }
            (Ask::Read { ranges, most }, Rmsg::Read { data }) => {
                assert!(
                    data.len() <= most && !(strict && data.len() < most),
                    "{} bytes",
                    data.len()
                );
                scene.digest.add_bytes(data);
                if let Err(error) = scene.model.check(asked.began, &ranges, data) {
                    panic!("client {} reads what can't be: {error}", self.number);
                }
            }
            (Ask::Write { fid, id, ranges, count: most }, Rmsg::Write { count }) => {
                assert!(*count <= most && !(strict && *count < most), "{count} bytes were taken");
                scene.model.end_write(id, &ranges, *count == most);
                if let Some(fid) = self.same_fid(fid).filter(|_| *count == most) {
                    fid.unsynced.push(id);
                }
            }
            (Ask::Sync { fid, ranges }, Rmsg::Wstat) => {
                let began = asked.began;
                scene.model.synced(began, &ranges);
                let Some(fid) = self.same_fid(fid) else { return };
                let told = scene.model.check_synced(began, &ranges, &fid.unsynced);
                fid.unsynced.retain(|&id| scene.model.acked(id) >= began);
                if let Err(error) = told {
                    panic!("client {}: a sync ends well, but {error}", self.number);
                }
            }
            (Ask::Flush { old }, Rmsg::Flush) => self.flushed(old, scene),
            (Ask::Make(thing), Rmsg::Write { .. }) => scene.things.push(thing),
            (Ask::Order, Rmsg::Write { .. }) => {}
            (Ask::Plain(kind), reply) if reply.mtype() == kind => {}
            (ask, _) => panic!("client {}: {reply:?} to {ask:?}", self.number),
        }
    }

    /// The session begins; the one before it, if there was one, is over.
    fn begun(&mut self, msize: u32, scene: &mut Scene<'_>) {
        self.msize = msize;
        for asked in std::mem::take(&mut self.asked).into_values() {
            forget(&asked.ask, scene.model);
        }
        self.fids.clear();
        self.phase = Phase::Attaching;
        let aname = self.tree;
        let attach = Tmsg::Attach { fid: ROOT, afid: NOFID, uname: "sim", aname };
        self.send(&attach, Ask::Attach, scene);
        self.pump();
    }

    fn failed(&mut self, asked: Asked, scene: &mut Scene<'_>) {
        match asked.ask {
            Ask::Version | Ask::Attach => self.vanish(scene.model),
            Ask::Walk { fid } => drop(self.fids.remove(&fid)),
            Ask::Open { fid } => self.fids.get_mut(&fid).expect("it is there").busy = false,
            Ask::Write { id, ranges, .. } => scene.model.end_write(id, &ranges, false),
            Ask::Sync { fid, .. } => {
                if let Some(fid) = self.same_fid(fid) {
                    fid.unsynced.clear();
                }
            }
            _ => {}
        }
    }

    /// A request was flushed. If no answer to it came before, it was not done.
    fn flushed(&mut self, old: u16, scene: &mut Scene<'_>) {
        let Some(asked) = self.asked.remove(&old) else { return };
        match asked.ask {
            Ask::Write { id, ranges, .. } => scene.model.drop_write(id, &ranges),
            Ask::Walk { fid } => drop(self.fids.remove(&fid)),
            Ask::Open { fid } => self.fids.get_mut(&fid).expect("it is there").busy = false,
            Ask::Flush { .. } => panic!("client {}: a flush was not answered", self.number),
            _ => {}
        }
    }
}
