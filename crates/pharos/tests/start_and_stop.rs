//! Starts and stops of real processes while meta or the object store does not answer.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Longest wait for a condition.
const PATIENCE: Duration = Duration::from_secs(60);

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Polls a condition. Panics with `what` if it does not become true in time.
fn wait_for(what: &str, reached: impl Fn() -> bool) {
    let poll = Duration::from_millis(50);
    for _ in 0..PATIENCE.as_millis() / poll.as_millis() {
        if reached() {
            return;
        }
        std::thread::sleep(poll);
    }
    panic!("{what} did not happen within {PATIENCE:?}");
}

/// A running server, which is killed when it is dropped.
struct Server {
    process: Child,
    port: u16,
    log: PathBuf,
}

impl Server {
    fn start(folder: &Path, config: &str, flags: &[String]) -> Server {
        std::fs::create_dir_all(folder).unwrap();
        let (port, log, file) = (free_port(), folder.join("log"), folder.join("pharos.yml"));
        std::fs::write(&file, config.replace("PORT", &port.to_string())).unwrap();
        let output = File::options().create(true).append(true).open(&log).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_pharos"))
            .arg(format!("--storage.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg(format!("--config.file={}", file.display()))
            .args(flags)
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Server { process, port, log }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn wait_until_logged(&self, text: &str) {
        wait_for(&format!("log line {text:?}"), || self.log().contains(text));
    }

    /// Sends a request and returns the whole response; empty if there is none.
    fn request(&self, method: &str, path: &str) -> String {
        let asked = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            write!(stream, "{method} {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        asked().unwrap_or_default()
    }

    fn wait_until_ready(&self) {
        wait_for("readiness", || self.request("GET", "/-/ready").starts_with("HTTP/1.1 200"));
    }

    /// Sends SIGTERM and returns the exit code.
    fn terminate(mut self) -> (Option<i32>, String) {
        self.signal("TERM");
        let poll = Duration::from_millis(50);
        for _ in 0..PATIENCE.as_millis() / poll.as_millis() {
            if let Some(status) = self.process.try_wait().unwrap() {
                return (status.code(), self.log());
            }
            std::thread::sleep(poll);
        }
        panic!("the server did not end\n{}", self.log());
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// A configuration with a shared folder as its object store.
fn shared_folder(folder: &Path) -> String {
    format!(
        "object_store: {{type: filesystem, directory: '{}'}}\nscrape_configs: []\n",
        folder.join("bucket").display()
    )
}

#[test]
fn a_node_that_finds_no_cluster_ends_with_0_on_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let flags = [
        "--roles=ingester".to_string(),
        format!("--join=127.0.0.1:{}", free_port()),
        format!("--cluster.listen-address=127.0.0.1:{}", free_port()),
    ];
    let server = Server::start(folder.path(), &shared_folder(folder.path()), &flags);
    server.wait_until_logged("listening for other nodes");
    let (code, log) = server.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("stopped by a signal during startup"), "{log}");
}

#[test]
fn a_node_waits_for_a_majority_of_meta_and_ends_with_0_on_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let addresses = [format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port())];
    let start = |number: usize| {
        let flags = [
            format!("--join={}", addresses.join(",")),
            format!("--cluster.listen-address={}", addresses[number]),
            "--cluster.expect=2".into(),
        ];
        Server::start(&folder.path().join(number.to_string()), &shared_folder(folder.path()), &flags)
    };
    let (first, second) = (start(0), start(1));
    first.wait_until_ready();
    second.wait_until_ready();
    second.signal("KILL");
    first.signal("KILL");
    drop((first, second));
    let mut alone = start(0);
    alone.wait_until_logged("meta does not answer");
    assert!(alone.process.try_wait().unwrap().is_none(), "it ended\n{}", alone.log());
    let (code, log) = alone.terminate();
    assert_eq!(code, Some(0), "{log}");
    // And once the other one is there again, it starts.
    let (first, second) = (start(0), start(1));
    first.wait_until_ready();
    second.wait_until_ready();
}

/// An HTTP server that reads requests and never answers. Counts the requests for parts of blocks.
fn silent_bucket() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counter = counter.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if line.contains("/blocks/") {
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    (port, asked)
}

#[test]
fn a_stop_while_a_query_waits_for_the_object_store_is_clean() {
    let folder = tempfile::tempdir().unwrap();
    let scrape = "global: {scrape_interval: 1s, scrape_timeout: 1s}\n\
                  scrape_configs: [{job_name: self, static_configs: [{targets: ['127.0.0.1:PORT']}]}]\n";
    let admin = ["--web.enable-admin-api".to_string()];
    let server = Server::start(folder.path(), scrape, &admin);
    server.wait_until_ready();
    wait_for("a scrape", || server.request("GET", "/api/v1/query?query=up").contains("\"job\":\"self\""));
    // A snapshot flushes the shards that are placed.
    wait_for("a flush", || {
        let snapshot = server.request("POST", "/api/v1/admin/tsdb/snapshot");
        assert!(snapshot.starts_with("HTTP/1.1 200"), "{snapshot}");
        server.log().contains("flushed window")
    });
    let (code, log) = server.terminate();
    assert_eq!(code, Some(0), "{log}");
    // Without its log the node has samples in blocks only.
    std::fs::remove_dir_all(folder.path().join("data/wal")).unwrap();
    let (bucket, asked) = silent_bucket();
    let silent = format!(
        "object_store: {{type: s3, bucket: b, endpoint: 'http://127.0.0.1:{bucket}', access_key: a, secret_key: b}}\n\
         scrape_configs: []\n"
    );
    let server = Arc::new(Server::start(folder.path(), &silent, &[]));
    server.wait_until_ready();
    let querying = {
        let server = server.clone();
        std::thread::spawn(move || server.request("GET", "/api/v1/query?query=count(count_over_time(up%5B1h%5D))"))
    };
    wait_for("a read of a block", || asked.load(Ordering::Relaxed) > 0);
    server.signal("TERM");
    let answer = querying.join().unwrap();
    let server = Arc::into_inner(server).unwrap();
    let (code, log) = server.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    assert!(answer.contains("cancel"), "the client is told: {answer}");
}
