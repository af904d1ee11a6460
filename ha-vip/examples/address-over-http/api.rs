//! A provider's API in miniature: `PUT`, `DELETE` and `GET /addresses/ADDRESS[?node=NAME]`.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// Starts it on a free port of 127.0.0.1.
pub fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let at = listener.local_addr()?;
    std::thread::spawn(move || {
        let mut owners = BTreeMap::new();
        for stream in listener.incoming().flatten() {
            if let Err(error) = serve(&stream, &mut owners) {
                eprintln!("a request failed: {error}");
            }
        }
    });
    Ok(at)
}

fn serve(mut stream: &TcpStream, owners: &mut BTreeMap<String, String>) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let (status, body) = answer(&request, owners);
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn answer(request: &str, owners: &mut BTreeMap<String, String>) -> (&'static str, String) {
    let mut words = request.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, node) = target.split_once("?node=").unwrap_or((target, ""));
    let Some(address) = path.strip_prefix("/addresses/") else { return ("404 Not Found", String::new()) };
    match (method, owners.get(address)) {
        ("PUT", _) => {
            owners.insert(address.into(), node.into());
            ("200 OK", String::new())
        }
        // Only the owner gives it up; for anybody else it is given up already.
        ("DELETE", Some(owner)) if owner == node => {
            owners.remove(address);
            ("200 OK", String::new())
        }
        ("DELETE", _) => ("200 OK", String::new()),
        ("GET", Some(owner)) => ("200 OK", owner.clone()),
        ("GET", None) => ("404 Not Found", String::new()),
        _ => ("405 Method Not Allowed", String::new()),
    }
}
