//! HTTP with programs that everybody uses: curl as our client, nginx as our server.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ethertab::CloseReason;
use ethertab_sim::Impairment;
use ethertab_sim::apps::fill_pattern;

use crate::Outcome;
use crate::apps::{App, Read, Socket, Stream, pattern};
use crate::host::{Host, LINUX, OURS};
use crate::judge::{Allowed, BUSY, FLOW_CONTROL, NORMAL, PROBED};
use crate::namespace::{in_namespace, output, run};

const LIMIT: Duration = Duration::from_secs(60);
/// Bytes of a large file.
const LARGE: u64 = 20 << 20;
const CHUNK: usize = 16 * 1024;
/// More than the heads of these requests and answers take.
const MAX_HEAD: usize = 8 * 1024;

/// What tshark tells of HTTP.
const HTTP: &[Allowed] = &[
    ("Chats", "HTTP GET /", "a request"),
    ("Chats", "HTTP HTTP/1.1 200 OK", "its answer"),
    ("Chats", "HTTP HTTP/1.1 404 Not Found", "the answer to a request for nothing"),
];

/// Answers one HTTP/1.1 request: `GET /N` with N bytes of the pattern N, everything else with 404.
#[derive(Default)]
struct Server {
    received: Stream,
    head: Vec<u8>,
    /// The answer's head, and the length and pattern of its body.
    answer: Option<(Vec<u8>, u64)>,
    sent: u64,
}

impl Server {
    /// The answer to the request, once its head is complete.
    fn answer(&self) -> Option<(Vec<u8>, u64)> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(&self.head);
        if matches!(parsed, Ok(httparse::Status::Partial)) && self.head.len() < MAX_HEAD {
            return None;
        }
        let wanted = request.path.and_then(|path| path.strip_prefix('/')?.parse::<u64>().ok());
        let (status, len) = match (parsed, request.method, wanted) {
            (Ok(_), Some("GET"), Some(len)) => ("200 OK", len),
            _ => ("404 Not Found", 0),
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n");
        Some((head.into_bytes(), len))
    }
}

impl App for Server {
    fn run(&mut self, socket: &mut Socket<'_>) -> Result<bool, CloseReason> {
        let mut chunk = [0; CHUNK];
        let ended = loop {
            match socket.read(&mut chunk)? {
                Read::Bytes(len) => {
                    self.received.add(&chunk[..len]);
                    let room = MAX_HEAD - self.head.len();
                    self.head.extend_from_slice(&chunk[..len.min(room)]);
                }
                Read::NothingYet => break false,
                Read::End => break true,
            }
        };
        if self.answer.is_none() {
            self.answer = self.answer();
        }
        let Some((head, key)) = &self.answer else { return Ok(ended) };
        let total = head.len() as u64 + key;
        while self.sent < total {
            let next = match self.sent.checked_sub(head.len() as u64) {
                None => &head[self.sent as usize..],
                Some(offset) => {
                    let len = (key - offset).min(CHUNK as u64) as usize;
                    fill_pattern(*key, offset, &mut chunk[..len]);
                    &chunk[..len]
                }
            };
            let taken = socket.write(next)?;
            self.sent += taken as u64;
            if taken < next.len() {
                return Ok(false);
            }
        }
        socket.shutdown();
        Ok(ended)
    }

    fn received(&self) -> &Stream {
        &self.received
    }
}

/// Sends one request and takes the answer, whose body must be as long as it says.
struct Client {
    request: Vec<u8>,
    sent: usize,
    head: Vec<u8>,
    /// The answer's `Content-Length`, once its head is complete.
    expected: Option<u64>,
    body: Stream,
}

impl Client {
    fn get(path: &str) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nHost: linux.test\r\nConnection: close\r\n\r\n").into_bytes();
        Client { request, sent: 0, head: Vec::new(), expected: None, body: Stream::default() }
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.expected.is_some() {
            return self.body.add(bytes);
        }
        self.head.extend_from_slice(bytes);
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        let Ok(httparse::Status::Complete(end)) = response.parse(&self.head) else { return };
        let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok());
        if response.code == Some(200) {
            self.expected = length;
            self.body.add(&self.head[end..]);
        }
    }
}

impl App for Client {
    fn run(&mut self, socket: &mut Socket<'_>) -> Result<bool, CloseReason> {
        self.sent += socket.write(&self.request[self.sent..])?;
        let mut chunk = [0; CHUNK];
        loop {
            match socket.read(&mut chunk)? {
                Read::Bytes(len) => self.take(&chunk[..len]),
                Read::NothingYet => return Ok(false),
                Read::End => return Ok(true),
            }
        }
    }

    fn received(&self) -> &Stream {
        &self.body
    }
}

/// A folder for a test's files; what an earlier run has left there goes.
fn folder(name: &str) -> Outcome<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn stream_of(file: &Path) -> Outcome<Stream> {
    let (mut file, mut stream, mut chunk) = (File::open(file)?, Stream::default(), vec![0; CHUNK]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(stream),
            len => stream.add(&chunk[..len]),
        }
    }
}

#[test]
fn curl_fetches_files_from_the_stack() -> Outcome {
    in_namespace(|| {
        let mut host = Host::new("curl_fetches_files_from_the_stack", Impairment::PERFECT, LIMIT)?;
        host.serve(80, || Box::new(Server::default()))?;
        let folder = folder("curl")?;
        let curl = format!("curl --silent --show-error --fail --globoff --max-time 50 --output {}", folder.display());
        let urls = OURS.map(|address| format!("http://{}", SocketAddr::new(address, 80)));
        let lengths = [0, 1, 1_460, 100_000, LARGE];
        host.run_with(|| {
            for (family, url) in urls.iter().enumerate() {
                for len in lengths {
                    run(&format!("{curl}/{family}-{len} {url}/{len}"))?;
                }
                let missing = output(&format!("{curl}/missing {url}/missing"))?;
                // "HTTP page not retrieved", curl(1).
                assert_eq!(missing.status.code(), Some(22));
            }
            Ok(())
        })?;
        for (family, url) in urls.iter().enumerate() {
            for len in lengths.into_iter().filter(|len| *len > 0) {
                let fetched = stream_of(&folder.join(format!("{family}-{len}")))?;
                assert!(fetched == pattern(len, len), "{len} bytes of {url}");
            }
        }
        host.finish(&[NORMAL, BUSY, FLOW_CONTROL, PROBED, HTTP].concat())
    })
}

/// An nginx in the present namespace, which ends with this value.
pub(crate) struct Nginx {
    /// Its command line.
    line: String,
}

impl Nginx {
    /// Serves `folder` at port 80 of these addresses, and keeps its own files there too. nginx goes to the background once it listens.
    pub(crate) fn start(folder: &Path, addresses: &[IpAddr]) -> Outcome<Self> {
        let at = folder.display();
        let listen: String =
            addresses.iter().map(|address| format!("listen {};", SocketAddr::new(*address, 80))).collect();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {at}/{kind};"))
            .join(" ");
        let text = format!(
            "user root; worker_processes 1; pid {at}/pid; error_log {at}/error.log;\n\
             events {{}}\n\
             http {{ access_log off; {temporary} server {{ {listen} root {at}; }} }}\n"
        );
        fs::write(folder.join("nginx.conf"), text)?;
        let line = format!("nginx -e {at}/error.log -c {at}/nginx.conf");
        run(&line)?;
        Ok(Nginx { line })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if let Err(error) = run(&format!("{} -s stop", self.line)) {
            println!("nginx was not stopped: {error}");
        }
    }
}

#[test]
fn the_stack_fetches_a_file_from_nginx() -> Outcome {
    in_namespace(|| {
        let mut host = Host::new("the_stack_fetches_a_file_from_nginx", Impairment::PERFECT, LIMIT)?;
        let folder = folder("nginx")?;
        let (mut file, mut content) = (File::create(folder.join("file"))?, vec![0; LARGE as usize]);
        fill_pattern(LARGE, 0, &mut content);
        file.write_all(&content)?;
        let nginx = Nginx::start(&folder, &LINUX)?;
        for address in LINUX {
            host.connect(SocketAddr::new(address, 80), Box::new(Client::get("/file")))?;
        }
        host.run_until_finished(LINUX.len())?;
        for finished in host.finished() {
            assert_eq!(finished.error, None);
            assert!(finished.received == pattern(LARGE, LARGE), "{} bytes came", finished.received.len());
        }
        drop(nginx);
        host.finish(&[NORMAL, BUSY, FLOW_CONTROL, PROBED, HTTP].concat())
    })
}
