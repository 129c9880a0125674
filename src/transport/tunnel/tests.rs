//! Two sides of a stream, between which a test carries the frames.

use std::collections::VecDeque;

use tokio::io::{AsyncRead as _, ReadBuf};

use super::{bundle::Batches, *};
use crate::{
    proto::{self, Frames, frame::Kind},
    transport::Malformed,
};

/// A context for polling by hand.
fn context() -> Context<'static> {
    Context::from_waker(std::task::Waker::noop())
}

const SESSION: Purpose = Purpose::Session {
    remote: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1234),
    local: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 6380),
};

/// The two sides, and what is under way between them.
struct Road {
    bundles: [Arc<Bundle>; 2],
    batches: [Batches; 2],
    under_way: [VecDeque<Frames>; 2],
}

impl Road {
    fn new() -> Self {
        let bundles = [(), ()].map(|()| Bundle::new(&Arc::default()));
        let batches = [bundles[0].batches(), bundles[1].batches()];
        Self { bundles, batches, under_way: Default::default() }
    }

    /// Lets a batch of one side leave, if there is one.
    fn leave(&mut self, side: usize) -> bool {
        let batch = tokio_stream::Stream::poll_next(Pin::new(&mut self.batches[side]), &mut context());
        let Poll::Ready(Some(Ok(batch))) = batch else { return false };
        self.under_way[side].push_back(batch);
        true
    }

    /// Lets the next batch of one side arrive, and returns the tunnels that it opens.
    fn arrive(&mut self, side: usize) -> Vec<Incoming> {
        let Some(batch) = self.under_way[side].pop_front() else { return Vec::new() };
        self.bundles[1 - side].take(1, batch, side == 0).unwrap()
    }

    /// Lets all leave and arrive.
    fn carry(&mut self) -> Vec<Incoming> {
        let mut opened = Vec::new();
        loop {
            let left = self.leave(0) | self.leave(1);
            opened.extend(self.arrive(0));
            opened.extend(self.arrive(1));
            if !left && self.under_way.iter().all(VecDeque::is_empty) {
                return opened;
            }
        }
    }

    /// A tunnel, open on both sides.
    fn tunnel(&mut self) -> (Tunnel, Tunnel) {
        let near = self.bundles[0].open(SESSION).unwrap();
        let far = self.carry().pop().unwrap().accept();
        self.carry();
        (near, far)
    }
}

/// What reading gives now: bytes, or the end (none), or an error.
fn read(tunnel: &mut Tunnel, bytes_max: usize) -> Option<io::Result<Vec<u8>>> {
    let mut space = vec![0; bytes_max];
    let mut buffer = ReadBuf::new(&mut space);
    match Pin::new(tunnel).poll_read(&mut context(), &mut buffer) {
        Poll::Ready(Ok(())) => Some(Ok(buffer.filled().to_vec())),
        Poll::Ready(Err(error)) => Some(Err(error)),
        Poll::Pending => None,
    }
}

fn read_some(tunnel: &mut Tunnel, bytes_max: usize) -> Vec<u8> {
    read(tunnel, bytes_max).expect("something is there").unwrap()
}

/// Writes what there is room for.
fn write(tunnel: &Tunnel, bytes: &[u8]) -> usize {
    match tunnel.end.try_write(&[IoSlice::new(bytes)]) {
        Ok(written) => written,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => panic!("{error}"),
    }
}

fn accepted(tunnel: &Tunnel) -> Option<io::Result<()>> {
    match tunnel.end.poll_accepted(&context()) {
        Poll::Ready(accepted) => Some(accepted),
        Poll::Pending => None,
    }
}

#[test]
fn a_tunnel_is_opened_accepted_and_carries_bytes_both_ways() {
    let mut road = Road::new();
    let mut near = road.bundles[0].open(SESSION).unwrap();
    // What is written at once need not wait for the answer.
    assert_eq!(write(&near, b"PING"), 4);
    let incoming = road.carry().pop().unwrap();
    assert_eq!((incoming.from(), incoming.purpose()), (1, SESSION));
    assert!(accepted(&near).is_none());
    let mut far = incoming.accept();
    road.carry();
    accepted(&near).unwrap().unwrap();
    assert_eq!(read_some(&mut far, 100), b"PING");
    assert!(read(&mut far, 100).is_none());
    assert_eq!(write(&far, b"PONG"), 4);
    road.carry();
    assert_eq!(read_some(&mut near, 2), b"PO");
    assert_eq!(read_some(&mut near, 2), b"NG");
}

#[test]
fn a_tunnel_that_is_refused_or_not_answered_says_so() {
    let mut road = Road::new();
    for why in ["does not lead\nany more", ""] {
        let mut near = road.bundles[0].open(Purpose::Request).unwrap();
        write(&near, b"SET");
        let incoming = road.carry().pop().unwrap();
        assert_eq!(incoming.purpose(), Purpose::Request);
        match why {
            "" => drop(incoming),
            why => incoming.refuse(why),
        }
        road.carry();
        let words = if why.is_empty() { "it is not served" } else { "does not lead any more" };
        for error in [accepted(&near).unwrap().unwrap_err(), read(&mut near, 9).unwrap().unwrap_err()] {
            assert_eq!(
                (error.kind(), error.to_string()),
                (io::ErrorKind::ConnectionRefused, words.to_owned())
            );
        }
        assert!(near.end.try_write(&[IoSlice::new(b"x")]).is_err());
    }
}

#[test]
fn who_does_not_read_holds_up_who_writes_and_nobody_else() {
    let mut road = Road::new();
    let (stuck, mut unread) = road.tunnel();
    let (other, mut reader) = road.tunnel();
    let bytes = vec![7; 3 * WINDOW_BYTES];
    let mut written = 0;
    for _ in 0..10 {
        written += write(&stuck, &bytes);
        road.carry();
    }
    assert_eq!(written, WINDOW_BYTES);
    assert!(stuck.end.poll_writable(&context()).is_pending());
    let mut carried = 0;
    while carried < 4 * WINDOW_BYTES {
        carried += write(&other, &bytes);
        road.carry();
        while read(&mut reader, WINDOW_BYTES).is_some() {}
        road.carry();
    }
    // Room is told of in steps.
    assert_eq!(read_some(&mut unread, WINDOW_BYTES / 2 - 1).len(), WINDOW_BYTES / 2 - 1);
    road.carry();
    assert_eq!(write(&stuck, &bytes), 0);
    read_some(&mut unread, 1);
    road.carry();
    assert_eq!(write(&stuck, &bytes), WINDOW_BYTES / 2);
}

#[test]
fn a_small_write_passes_between_the_pieces_of_a_large_one() {
    let mut road = Road::new();
    let (large, _far) = road.tunnel();
    let (small, mut reader) = road.tunnel();
    write(&large, &vec![1; WINDOW_BYTES]);
    write(&small, b"small");
    assert!(road.leave(0));
    road.arrive(0);
    assert_eq!(read_some(&mut reader, 100), b"small");
    let left = road.under_way[0].len();
    assert_eq!(left, 0, "one batch was enough");
}

#[test]
fn each_direction_ends_by_itself() {
    let mut road = Road::new();
    let (mut near, mut far) = road.tunnel();
    write(&near, b"last words");
    near.end.shutdown();
    road.carry();
    assert_eq!(near.end.try_write(&[IoSlice::new(b"x")]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(read_some(&mut far, 100), b"last words");
    assert_eq!(read_some(&mut far, 100), b"");
    write(&far, b"an answer");
    far.end.shutdown();
    drop(far);
    road.carry();
    assert_eq!(read_some(&mut near, 100), b"an answer");
    assert_eq!(read_some(&mut near, 100), b"");
    drop(near);
    road.carry();
    assert!(road.bundles.iter().all(|bundle| bundle.is_empty()));
}

#[test]
fn what_was_written_arrives_though_the_writer_is_gone_but_not_as_a_whole() {
    let mut road = Road::new();
    let (mut near, far) = road.tunnel();
    write(&far, b"half of an answer");
    drop(far);
    road.carry();
    assert_eq!(read_some(&mut near, 100), b"half of an answer");
    assert_eq!(read(&mut near, 100).unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(near.end.try_write(&[IoSlice::new(b"x")]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    drop(near);
    assert!(!road.leave(0), "the other side knows");
    assert!(road.bundles.iter().all(|bundle| bundle.is_empty()));
}

#[test]
fn a_tunnel_is_closed_by_its_last_half() {
    let mut road = Road::new();
    let (mut near, far) = road.tunnel();
    let (reader, writer) = far.into_split();
    drop(reader);
    writer.try_write_vectored(&[IoSlice::new(b"a"), IoSlice::new(b"bc")]).unwrap();
    road.carry();
    assert_eq!(read_some(&mut near, 100), b"abc");
    drop(writer);
    road.carry();
    assert!(read(&mut near, 100).unwrap().is_err());
}

#[test]
fn a_stream_that_ends_breaks_all_tunnels() {
    let mut road = Road::new();
    let (mut near, far) = road.tunnel();
    write(&far, b"some");
    road.carry();
    road.bundles[0].end(crate::transport::LinkError::Late);
    assert_eq!(read_some(&mut near, 100), b"some", "what has come is there");
    let error = read(&mut near, 100).unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    assert!(error.to_string().contains("took too long"), "{error}");
    assert_eq!(
        near.end.try_write(&[IoSlice::new(b"x")]).unwrap_err().kind(),
        io::ErrorKind::ConnectionAborted
    );
    assert!(near.end.poll_writable(&context()).is_ready());
    assert!(road.bundles[0].open(SESSION).is_err() && road.bundles[0].has_ended());
}

#[test]
fn what_does_not_fit_is_refused() {
    let road = Road::new();
    let take = |tunnel, kind| {
        let frames = Frames { frames: vec![proto::Frame { tunnel, kind }] };
        road.bundles[1].take(1, frames, true).map(|_| ())
    };
    let open = || Some(Kind::Request(proto::TunnelRequest {}));
    assert_eq!(take(9, None), Err(Malformed::Frame("an unknown frame of a tunnel")));
    assert_eq!(take(9, Some(Kind::Data(vec![0; 5].into()))), Ok(()), "it was closed");
    // It is refused at once here, but its number is taken.
    assert_eq!(take(9, open()), Ok(()));
    assert!(take(9, open()).is_err() && take(8, open()).is_err());
    let nowhere = proto::TunnelSession { remote: "http".to_owned(), local: "127.0.0.1:1".to_owned() };
    assert!(take(10, Some(Kind::Session(nowhere))).is_err());
    assert_eq!(take(9, Some(Kind::Data(vec![0; WINDOW_BYTES].into()))), Ok(()));
    assert!(take(9, Some(Kind::Data(vec![0].into()))).is_err());
    assert!(take(9, Some(Kind::Credit(1))).is_err());
    // Nobody serves tunnels to who has opened the stream.
    let frames = Frames { frames: vec![proto::Frame { tunnel: 1, kind: open() }] };
    assert!(road.bundles[0].take(2, frames, false).is_err());
}

/// One tunnel under test, and what one side has written that the other has not read.
struct Watched {
    ends: [Tunnel; 2],
    expected: [VecDeque<u8>; 2],
    /// What is written next begins with another byte.
    next: usize,
}

#[test]
fn whatever_is_written_is_read_in_order_within_bounds() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut road = Road::new();
        let mut tunnels: Vec<Watched> = (0..rng.usize(1..5))
            .map(|_| {
                let (near, far) = road.tunnel();
                Watched { ends: [near, far], expected: Default::default(), next: 0 }
            })
            .collect();
        for _ in 0..300 {
            let (side, which) = (rng.usize(0..2), rng.usize(0..tunnels.len()));
            let watched = &mut tunnels[which];
            match rng.u8(0..6) {
                0 | 1 => {
                    let most = if rng.bool() { 100 } else { 2 * WINDOW_BYTES };
                    let bytes: Vec<u8> =
                        (0..=250).cycle().skip(watched.next).take(rng.usize(0..most)).collect();
                    let written = write(&watched.ends[side], &bytes);
                    watched.expected[side].extend(&bytes[..written]);
                    watched.next += 7;
                    assert!(watched.expected[side].len() <= WINDOW_BYTES, "seed {seed}");
                }
                2 | 3 => {
                    let most = rng.usize(1..WINDOW_BYTES);
                    if let Some(read) = read(&mut watched.ends[1 - side], most) {
                        let expected: Vec<u8> =
                            watched.expected[side].drain(..read.as_ref().unwrap().len()).collect();
                        assert!(read.unwrap() == expected, "seed {seed}");
                    }
                }
                4 => drop(road.leave(side)),
                _ => drop(road.arrive(side)),
            }
        }
        road.carry();
        for watched in &mut tunnels {
            for side in 0..2 {
                while !watched.expected[side].is_empty() {
                    let read = read_some(&mut watched.ends[1 - side], WINDOW_BYTES);
                    let expected: Vec<u8> = watched.expected[side].drain(..read.len()).collect();
                    assert!(read == expected, "seed {seed}");
                    road.carry();
                }
                assert!(read(&mut watched.ends[1 - side], 1).is_none(), "seed {seed}");
                // All the room is there again, but for what was not told yet.
                assert!(write(&watched.ends[side], &[0; WINDOW_BYTES]) > WINDOW_BYTES / 2, "seed {seed}");
            }
        }
    }
}

#[test]
fn all_that_has_come_is_taken_at_once() {
    let mut road = Road::new();
    let (mut reader, writer) = {
        let (near, far) = road.tunnel();
        (near.into_split().0, far)
    };
    let mut take = || {
        let taken = std::pin::pin!(reader.next());
        match taken.poll(&mut context()) {
            Poll::Ready(taken) => Some(taken.unwrap()),
            Poll::Pending => None,
        }
    };
    assert_eq!(take(), None);
    write(&writer, &[1; WINDOW_BYTES]);
    road.carry();
    assert_eq!(take().unwrap().unwrap().len(), WINDOW_BYTES);
    assert!(writer.end.poll_closed(&context()).is_pending());
    road.carry();
    assert_eq!(write(&writer, &[1; WINDOW_BYTES]), WINDOW_BYTES, "all that was taken is room again");
    writer.end.shutdown();
    road.carry();
    assert_eq!(take().unwrap().unwrap().len(), WINDOW_BYTES);
    assert_eq!(take(), Some(None));
    drop(reader);
    road.carry();
    assert!(writer.end.poll_closed(&context()).is_ready());
}

#[test]
fn what_waits_in_tunnels_is_counted_as_memory() {
    let mut road = Road::new();
    let (near, mut far) = road.tunnel();
    let kept = |road: &Road| [0, 1].map(|side| road.bundles[side].buffered_bytes());
    assert_eq!(kept(&road), [0, 0]);
    assert_eq!(write(&near, &[1; 100_000]), 100_000);
    assert!(kept(&road)[0] >= 100_000 && kept(&road)[1] == 0, "{:?}", kept(&road));
    road.carry();
    assert!(kept(&road)[0] <= 16 << 10 && kept(&road)[1] >= 100_000, "{:?}", kept(&road));
    while read(&mut far, 50_000).is_some() {}
    assert!(kept(&road)[1] <= 16 << 10, "{:?}", kept(&road));
    write(&near, &[1; 100_000]);
    road.carry();
    write(&near, &[1; 100_000]);
    drop((near, far));
    assert_eq!(kept(&road)[1], 0, "nobody will read it");
    road.carry();
    assert_eq!(kept(&road), [0, 0]);
}
