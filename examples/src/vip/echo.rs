//! A service that says which node it runs on.

use std::io::{self, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// A client that takes nothing cannot hold up the others for longer.
const PATIENCE: Duration = Duration::from_millis(100);
/// Connections that wait for `accept`.
const BACKLOG: i32 = 1024;

/// Listens on every address of both families, now and later, and answers each connection with one line: `name`.
///
/// # Errors
/// If the port cannot be listened on. A connection that fails is the client's matter.
pub fn serve(name: &str, port: u16) -> io::Result<()> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
    socket.set_only_v6(false)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    socket.listen(BACKLOG)?;
    let listener = std::net::TcpListener::from(socket);
    let line = format!("{name}\n");
    loop {
        // It may have been reset while it waited.
        if let Ok((stream, _)) = listener.accept() {
            let _ = answer(&stream, &line);
        }
    }
}

fn answer(mut stream: &TcpStream, line: &str) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};

    #[test]
    fn it_says_its_name_to_both_families() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        std::thread::spawn(move || serve("n1", free));
        for host in ["127.0.0.1", "::1"] {
            let end = std::time::Instant::now() + Duration::from_secs(5);
            let stream = loop {
                match TcpStream::connect((host, free)) {
                    Ok(stream) => break stream,
                    Err(error) => assert!(std::time::Instant::now() < end, "{error}"),
                }
            };
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).unwrap();
            assert_eq!(line, "n1\n");
        }
    }
}
