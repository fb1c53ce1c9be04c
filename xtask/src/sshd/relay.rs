//! A relay between loopback ports that delays what is sent, as a long line does, and keeps its order and bandwidth.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

/// The size of a piece, and the number of pieces that may be under way in one direction: 16 MiB.
const PIECE: usize = 64 << 10;
const UNDER_WAY: usize = 256;

/// Bytes that have been read, and when they are written.
type Piece = (Instant, Vec<u8>);

/// A relay, which accepts connections until this process ends.
pub(super) struct Relay {
    port: u16,
}

impl Relay {
    /// Starts a relay to a port.
    ///
    /// # Errors
    /// Fails if no port is free.
    pub(super) fn start(target: u16, delay: Duration) -> Result<Self, String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let bound = listener.and_then(|listener| Ok((listener.local_addr()?.port(), listener)));
        let (port, listener) = bound.map_err(|error| format!("cannot start the relay: {error}"))?;
        thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                // The client of a server that refuses connections loses its own.
                if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) {
                    let _ = connect(&client, &server, delay);
                }
            }
        });
        Ok(Self { port })
    }

    /// Returns the port at which the relay listens.
    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

/// Passes bytes on between two connections, in both directions.
fn connect(client: &TcpStream, server: &TcpStream, delay: Duration) -> std::io::Result<()> {
    for (from, to) in [(client, server), (server, client)] {
        to.set_nodelay(true)?;
        let (from, to) = (from.try_clone()?, to.try_clone()?);
        let (sender, receiver) = sync_channel(UNDER_WAY);
        thread::spawn(move || read(from, &sender, delay));
        thread::spawn(move || write(to, &receiver));
    }
    Ok(())
}

fn read(mut from: TcpStream, pieces: &SyncSender<Piece>, delay: Duration) {
    let mut buffer = vec![0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if pieces.send((Instant::now() + delay, buffer[..length].to_vec())).is_err() {
            break;
        }
    }
}

/// Writes pieces when they are due, and the end of the connection after the last one.
fn write(mut to: TcpStream, pieces: &Receiver<Piece>) {
    for (due, bytes) in pieces {
        while let Some(early) = due.checked_duration_since(Instant::now()).filter(|early| !early.is_zero()) {
            thread::park_timeout(early);
        }
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_in_order_after_the_delay_and_the_end_after_them() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let delay = Duration::from_millis(30);
        let relay = Relay::start(listener.local_addr().unwrap().port(), delay).unwrap();
        let echo = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut received = Vec::new();
            stream.read_to_end(&mut received).unwrap();
            stream.write_all(&received).unwrap();
        });
        let sent: Vec<u8> = (0..1_000_000_u32).map(|number| number.to_le_bytes()[number as usize % 3]).collect();
        let begun = Instant::now();
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port())).unwrap();
        client.write_all(&sent).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut returned = Vec::new();
        client.read_to_end(&mut returned).unwrap();
        echo.join().unwrap();
        assert!(returned == sent);
        // The relay holds bytes back for at least the delay, in both directions.
        assert!(begun.elapsed() >= 2 * delay);
    }

    #[test]
    fn connection_ends_if_the_server_refuses_it() {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let relay = Relay::start(free, Duration::ZERO).unwrap();
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port())).unwrap();
        assert!(!matches!(client.read(&mut [0]), Ok(1..)));
    }
}
