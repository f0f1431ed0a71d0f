//! Fetching: servers that break off, forget ranges, or have something else.

use lra::data::{Remote, fetch};
use lra::progress::Progress;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::thread::JoinHandle;

/// What a server sends for a request that asks for the bytes from here on.
type Answer = Box<dyn Fn(Option<usize>) -> Vec<u8> + Send>;

/// A server that gives each connection the next answer and then goes away. Joining it gives
/// what was asked for.
fn serve(answers: Vec<Answer>) -> (String, JoinHandle<Vec<Option<usize>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/set.tar.gz", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut range = None;
            for line in BufReader::new(&stream).lines().map(Result::unwrap) {
                let line = line.to_ascii_lowercase();
                if let Some(from) = line.strip_prefix("range: bytes=") {
                    range = Some(from.trim_end_matches('-').parse().unwrap());
                }
                if line.is_empty() {
                    break;
                }
            }
            asked.push(range);
            // Who asked may have hung up.
            let _ = stream.write_all(&answer(range));
        }
        asked
    });
    (url, thread)
}

fn content() -> Vec<u8> {
    (0..300_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// The whole file, of which `sent` bytes are sent.
fn whole(sent: usize) -> Answer {
    Box::new(move |_| {
        let all = content();
        answer("200 OK", &format!("Content-Length: {}", all.len()), &all[..sent.min(all.len())])
    })
}

/// What was asked for.
fn ranged() -> Answer {
    Box::new(|range| {
        let (all, from) = (content(), range.expect("a range"));
        let headers = format!(
            "Content-Length: {}\r\nContent-Range: bytes {from}-{}/{}",
            all.len() - from,
            all.len() - 1,
            all.len()
        );
        answer("206 Partial Content", &headers, &all[from..])
    })
}

fn fixed(status: &'static str, headers: &'static str, body: &'static [u8]) -> Answer {
    Box::new(move |_| answer(status, headers, body))
}

fn get(url: &str, folder: &Path) -> lra::Result<Vec<u8>> {
    let sha256 = format!("{:x}", Sha256::digest(content()));
    let bytes = content().len() as u64;
    let remote = Remote { file: "set.tar.gz", url, bytes, sha256: &sha256 };
    let path = fetch(&remote, folder, &Progress::silent())?;
    assert_eq!(path, folder.join("set.tar.gz"));
    Ok(fs::read(path).unwrap())
}

/// Names of the folder's files.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A message that names the address and says what to do; exit code 3.
fn failed(url: &str, folder: &Path) -> String {
    let error = get(url, folder).unwrap_err();
    let text = error.to_string();
    assert_eq!((error.exit_code(), text.lines().count()), (3, 1), "{text}");
    for part in [url, "get set.tar.gz another way", "--data-dir or LRA_DATA"] {
        assert!(text.contains(part), "{text}");
    }
    text
}

#[test]
fn a_broken_connection_is_taken_up_where_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let (url, server) = serve(vec![whole(500_000), ranged()]);
    assert!(get(&url, folder.path()).unwrap() == content());
    assert_eq!(server.join().unwrap(), [None, Some(500_000)]);
    assert_eq!(names(folder.path()), [".lock", "set.tar.gz"]);
    // It is there now: nobody is asked.
    assert!(get("http://127.0.0.1:1/", folder.path()).unwrap() == content());
}

#[test]
fn the_next_process_goes_on_with_the_part() {
    let folder = tempfile::tempdir().unwrap();
    let (url, server) = serve(vec![whole(500_000)]);
    let text = failed(&url, folder.path());
    assert!(text.contains("cannot be fetched"), "{text}");
    server.join().unwrap();
    assert_eq!(names(folder.path()), [".lock", "set.tar.gz.part"]);
    let (url, server) = serve(vec![ranged()]);
    assert!(get(&url, folder.path()).unwrap() == content());
    assert_eq!(server.join().unwrap(), [Some(500_000)]);
}

#[test]
fn a_server_without_ranges_starts_anew() {
    // As many bytes as are missing, from another place.
    let odd = || -> Answer {
        let headers = "Content-Range: bytes 0-1199984/1200000";
        Box::new(move |_| answer("206 Partial Content", headers, &content()[..1_199_985]))
    };
    let cases = [
        vec![whole(usize::MAX)],
        vec![fixed("416 Range Not Satisfiable", "Content-Length: 0", b""), whole(usize::MAX)],
        vec![odd(), whole(usize::MAX)],
    ];
    for answers in cases {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("set.tar.gz.part"), b"of another time").unwrap();
        let (url, server) = serve(answers);
        assert!(get(&url, folder.path()).unwrap() == content());
        assert_eq!(server.join().unwrap()[0], Some(15));
    }
    // One that always breaks off at the same place is not asked for ever.
    let folder = tempfile::tempdir().unwrap();
    let (url, server) = serve(vec![whole(500_000), whole(500_000)]);
    failed(&url, folder.path());
    assert_eq!(server.join().unwrap(), [None, Some(500_000)]);
}

#[test]
fn other_bytes_are_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("other.tar.gz"), b"other").unwrap();
    let other = || -> Vec<u8> { content().iter().map(|byte| byte ^ 1).collect() };
    let (url, server) = serve(vec![Box::new(move |_| answer("200 OK", "Server: test", &other()))]);
    let text = failed(&url, folder.path());
    server.join().unwrap();
    for bytes in [content(), content().iter().map(|byte| byte ^ 1).collect()] {
        assert!(text.contains(&format!("{:x}", Sha256::digest(bytes))), "{text}");
    }
    assert_eq!(names(folder.path()), [".lock", "other.tar.gz"]);
}

#[test]
fn other_sizes_and_answers_are_refused() {
    let more = || [content(), b"more".to_vec()].concat();
    let cases: [(Answer, &str); 4] = [
        (fixed("404 Not Found", "Content-Length: 4", b"none"), "the server answers 404 Not Found"),
        (fixed("206 Partial Content", "Content-Length: 4", b"none"), "the server answers 206"),
        (fixed("200 OK", "Content-Length: 4", b"page"), "offers 4 bytes; expected 1200000"),
        (
            Box::new(move |_| answer("200 OK", "Server: test", &more())),
            "offers more bytes; expected 1200000",
        ),
    ];
    for (answer, part) in cases {
        let folder = tempfile::tempdir().unwrap();
        let (url, server) = serve(vec![answer]);
        let text = failed(&url, folder.path());
        server.join().unwrap();
        assert!(text.contains(part), "{text}");
        assert!(!folder.path().join("set.tar.gz").exists());
    }
}

#[test]
fn without_a_server_the_message_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/set.tar.gz", listener.local_addr().unwrap());
    drop(listener);
    let text = failed(&url, folder.path());
    assert!(text.contains("cannot be fetched"), "{text}");
    assert_eq!(names(folder.path()), [".lock"]);
}

#[test]
fn of_two_at_once_one_fetches() {
    let folder = tempfile::tempdir().unwrap();
    let (url, server) = serve(vec![whole(usize::MAX)]);
    std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| get(&url, folder.path()).unwrap()));
        assert!(both.into_iter().all(|thread| thread.join().unwrap() == content()));
    });
    assert_eq!(server.join().unwrap(), [None]);
}
