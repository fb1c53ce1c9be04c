//! Tests of timeouts: with a writer that holds the lock of a file, and with a server that does not answer.

use std::{
    env, io,
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use fleche_core::{Cache, CallStore, Error, SkipReason, ValueStore, cache::HotTier, fleche};
use fleche_store_sql::{SqlCalls, SqlCallsConfig, SqlValues};
use rusqlite::Connection;

use super::common::{Scratch, key, record};

const SHORT: Duration = Duration::from_secs(2);

fn is_timeout(error: &Error) -> bool {
    let Error::Backend { source, .. } = error else { return false };
    source.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

/// Returns a connection that blocks other writers until it is dropped.
fn writer(scratch: &Scratch) -> Connection {
    let writer = Connection::open(scratch.directory.path().join("test.db")).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    writer
}

fn with_short_timeout(scratch: Scratch) -> Scratch {
    let Scratch { directory, values, calls } = scratch;
    Scratch { directory, values: values.timeout(SHORT), calls: calls.timeout(SHORT) }
}

#[test]
fn waiting_for_the_lock_of_another_writer_times_out() {
    let scratch = with_short_timeout(Scratch::sqlite());
    let (values, calls) = (scratch.open_values(), scratch.open_calls());
    calls.put(&key(1), &record(1)).unwrap();
    let writer = writer(&scratch);
    let digest = fleche_core::Digest::hash(b"a value");
    let errors = thread::scope(|scope| {
        // More concurrent operations than connections.
        let puts: Vec<_> = (2..32).map(|nth| (nth, &calls)).collect();
        let puts = puts.into_iter().map(|(nth, calls)| scope.spawn(move || calls.put(&key(nth), &record(nth))));
        puts.collect::<Vec<_>>().into_iter().map(|put| put.join().unwrap().unwrap_err()).collect::<Vec<_>>()
    });
    let others = [values.put(&digest, b"a value").unwrap_err(), calls.claim(&key(2)).unwrap_err()];
    for error in errors.iter().chain(&others) {
        assert!(is_timeout(error), "{error:?}");
    }
    assert_eq!(calls.get(&key(1)).unwrap(), Some(record(1)));
    drop(writer);
    calls.put(&key(2), &record(2)).unwrap();
}

#[test]
fn file_can_be_opened_while_another_process_writes() {
    let scratch = with_short_timeout(Scratch::sqlite());
    scratch.open_calls().put(&key(1), &record(1)).unwrap();
    let _writer = writer(&scratch);
    assert_eq!(scratch.open_calls().get(&key(1)).unwrap(), Some(record(1)));
}

#[test]
fn calls_skip_recording_after_a_lock_timeout_and_hits_are_served() {
    #[fleche]
    fn beside(x: u64) -> u64 {
        x * 3
    }
    let scratch = with_short_timeout(Scratch::sqlite());
    let cache =
        Cache::builder().values(scratch.open_values()).calls(scratch.open_calls()).hot_tier(HotTier::OFF).build();
    let _active = cache.enter();
    beside(0);
    let writer = writer(&scratch);
    for x in 1..=20 {
        assert_eq!(beside(x), x * 3);
    }
    let stats = cache.stats();
    // The first call waits for its claim and, after its body, for being recorded.
    assert_eq!(stats.outages, 2, "{stats:?}");
    assert!(stats.skipped[&SkipReason::StoreLeftAlone] >= 10, "{stats:?}");
    beside(0);
    assert_eq!(cache.stats().hits, stats.hits + 1);
    drop(writer);
}

#[test]
fn server_that_does_not_answer_times_out() {
    // The operating system accepts connections, and the test never reads from them.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://me@{}/db", server.local_addr().unwrap());
    let error = SqlCalls::open_with(&SqlCallsConfig::new(url).timeout(SHORT)).unwrap_err();
    assert!(is_timeout(&error), "{error:?}");
}

#[test]
fn opening_without_a_server_fails_without_waiting() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = SqlCallsConfig::new(format!("postgres://me@{free}/db")).timeout(Duration::from_hours(1));
    let error = SqlCalls::open_with(&config).unwrap_err();
    assert!(matches!(error, Error::Backend { .. }) && !is_timeout(&error), "{error:?}");
}

/// A proxy that forwards bytes to the server and back, unless it is stopped or its connections are cut.
struct Proxy {
    address: String,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    stopped: bool,
    gone: bool,
    connections: Vec<TcpStream>,
}

impl Proxy {
    fn begin(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::<(Mutex<State>, Condvar)>::default();
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                let mut state = shared.0.lock().unwrap();
                if state.gone {
                    return;
                }
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to, shared) = (from.try_clone().unwrap(), to.try_clone().unwrap(), shared.clone());
                    thread::spawn(move || carry(from, to, &shared));
                }
                state.connections.extend([client, server]);
            }
        });
        Self { address, state }
    }

    fn stop(&self, stopped: bool) {
        self.state.0.lock().unwrap().stopped = stopped;
        self.state.1.notify_all();
    }

    fn cut(&self) {
        for connection in self.state.0.lock().unwrap().connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.0.lock().unwrap().gone = true;
        self.stop(false);
        self.cut();
        let _ = TcpStream::connect(&self.address);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, shared: &(Mutex<State>, Condvar)) {
    use io::{Read as _, Write as _};
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        drop(shared.1.wait_while(shared.0.lock().unwrap(), |state| state.stopped).unwrap());
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// Returns stores that connect through a proxy.
fn proxied(timeout: Duration) -> (Proxy, Scratch) {
    let url = env::var("FLECHE_POSTGRES").expect("`cargo xtask postgres` starts a server and sets FLECHE_POSTGRES");
    let server = url.split_once('@').and_then(|(_, rest)| rest.split_once('/')).unwrap().0.to_owned();
    let proxy = Proxy::begin(server.clone());
    let url = url.replace(&server, &proxy.address);
    let Scratch { directory, mut values, mut calls } = Scratch::postgres();
    // The tables are created without the proxy.
    SqlCalls::open_with(&calls).unwrap();
    (values.url, calls.url) = (url.clone().into(), url.into());
    (proxy, Scratch { directory, values: values.timeout(timeout), calls: calls.timeout(timeout) })
}

#[test]
#[ignore = "needs a server: cargo xtask postgres"]
fn operations_time_out_while_a_server_is_stopped_and_work_afterwards() {
    let (proxy, scratch) = proxied(Duration::from_secs(2));
    let (values, calls): (SqlValues, SqlCalls) = (scratch.open_values(), scratch.open_calls());
    calls.put(&key(1), &record(1)).unwrap();
    let fleche_core::claim::Claim::Held(held) = calls.claim(&key(2)).unwrap() else { panic!("the claim must be free") };
    proxy.stop(true);
    let digest = fleche_core::Digest::hash(b"a value");
    thread::scope(|scope| {
        // More concurrent operations than connections.
        let gets: Vec<_> = (0..12).map(|_| scope.spawn(|| calls.get(&key(1)).unwrap_err())).collect();
        let rest = [
            scope.spawn(|| calls.put(&key(3), &record(3)).unwrap_err()),
            scope.spawn(|| calls.claim(&key(4)).unwrap_err()),
            scope.spawn(|| values.put(&digest, b"a value").unwrap_err()),
            scope.spawn(|| values.sync(&digest).err().unwrap_or_else(|| calls.get(&key(1)).unwrap_err())),
        ];
        for failed in gets.into_iter().chain(rest) {
            let error = failed.join().unwrap();
            assert!(is_timeout(&error), "{error:?}");
        }
    });
    drop(held);
    proxy.stop(false);
    assert_eq!(calls.get(&key(1)).unwrap(), Some(record(1)));
    calls.put(&key(5), &record(5)).unwrap();
    proxy.stop(true);
    // Closing ends in time too.
    drop((values, calls));
    proxy.stop(false);
}

#[test]
#[ignore = "needs a server: cargo xtask postgres"]
fn cut_connections_are_replaced() {
    let (proxy, scratch) = proxied(Duration::from_mins(1));
    let calls = scratch.open_calls();
    for nth in 1..4 {
        thread::scope(|scope| {
            for thread in 0..6 {
                scope.spawn({
                    let calls = &calls;
                    move || calls.put(&key(nth * 10 + thread), &record(nth)).unwrap()
                });
            }
        });
        proxy.cut();
        assert_eq!(calls.get(&key(nth * 10)).unwrap(), Some(record(nth)));
    }
}

#[test]
#[ignore = "needs a server: cargo xtask postgres"]
fn calls_with_a_stopped_server_cost_one_timeout() {
    #[fleche]
    fn stopped(x: u64) -> u64 {
        x * 3
    }
    let (proxy, scratch) = proxied(Duration::from_secs(2));
    let cache =
        Cache::builder().values(scratch.open_values()).calls(scratch.open_calls()).hot_tier(HotTier::OFF).build();
    let _active = cache.enter();
    stopped(0);
    proxy.stop(true);
    for x in 0..50 {
        assert_eq!(stopped(x), x * 3);
    }
    let stats = cache.stats();
    assert_eq!(stats.outages, 1, "{stats:?}");
    assert!(stats.skipped[&SkipReason::StoreLeftAlone] >= 45, "{stats:?}");
    proxy.stop(false);
}
