//! A server that answers as an honest one would, and then does something else with the answer.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use styx::Tmsg;
use styx::frame::split_frame;

use crate::honest::Honest;

/// What is done in place of an answer.
pub enum Act {
    /// These bytes are sent.
    Send(Vec<u8>),
    /// These bytes are sent one by one, with pauses.
    Trickle(Vec<u8>),
    /// These bytes are sent over and over, until nobody takes them.
    Flood(Vec<u8>),
    /// The server hangs up.
    HangUp,
}

/// Makes something of the honest answer to a request with this tag.
pub type Lie = Box<dyn FnMut(&Tmsg<'_>, u16, Vec<u8>) -> Act + Send>;

/// The pause between two bytes of a trickle.
const PAUSE: Duration = Duration::from_millis(20);

/// The server. It serves as long as the test runs.
pub struct Liar {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    honest: Honest,
    lie: Option<Lie>,
    streams: Vec<TcpStream>,
    /// Connections that the other side has hung up on.
    left: usize,
}

impl Liar {
    /// An honest server, until it is told to lie, with one file `f`.
    pub fn start(data: Vec<u8>) -> Liar {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let honest = Honest::with_file(data);
        let state = State { honest, lie: None, streams: Vec::new(), left: 0 };
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = shared.clone();
                lock(&state).streams.extend(stream.try_clone().ok());
                thread::spawn(move || {
                    let ended = serve(stream, &state);
                    if ended.is_ok() {
                        lock(&state).left += 1;
                    }
                });
            }
        });
        Liar { address, state }
    }

    /// Its dial string.
    pub fn dial(&self) -> String {
        format!("tcp!{}!{}", self.address.ip(), self.address.port())
    }

    /// From now on it lies.
    pub fn lie(&self, lie: impl FnMut(&Tmsg<'_>, u16, Vec<u8>) -> Act + Send + 'static) {
        lock(&self.state).lie = Some(Box::new(lie));
    }

    /// From now on it is honest.
    pub fn be_honest(&self) {
        lock(&self.state).lie = None;
    }

    /// Ends all its connections.
    pub fn cut(&self) {
        for stream in lock(&self.state).streams.drain(..) {
            let _gone_already = stream.shutdown(Shutdown::Both);
        }
    }

    /// How many connections the other side has hung up on.
    pub fn left(&self) -> usize {
        lock(&self.state).left
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// One connection; `Ok` if the other side hung up.
fn serve(mut stream: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // Fids are of a connection; there is one at a time.
    lock(state).honest.hung_up();
    let mut input = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        let got = match stream.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(got) => got,
            // It hung up with something of ours not read.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error),
        };
        input.extend(&piece[..got]);
        while let Some((frame, rest)) = split_frame(&input, 1 << 21).map_err(io::Error::other)? {
            let (frame, rest) = (frame.to_vec(), rest.to_vec());
            input = rest;
            let (tag, request) = Tmsg::decode(&frame).map_err(io::Error::other)?;
            let act = {
                let State { honest, lie, .. } = &mut *lock(state);
                let answer = honest.reply(tag, &request);
                match lie {
                    Some(lie) => lie(&request, tag, answer),
                    None => Act::Send(answer),
                }
            };
            match act {
                Act::Send(bytes) => stream.write_all(&bytes)?,
                Act::Trickle(bytes) => {
                    for byte in bytes {
                        if stream.write_all(&[byte]).is_err() {
                            return Ok(());
                        }
                        thread::sleep(PAUSE);
                    }
                }
                Act::Flood(bytes) => loop {
                    if stream.write_all(&bytes).is_err() {
                        return Ok(());
                    }
                },
                Act::HangUp => {
                    stream.shutdown(Shutdown::Both)?;
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
            }
        }
    }
}
