//! A client that says exactly what it is told to say.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::Duration,
};

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) trait Socket: Read + Write + Send {}
impl<S: Read + Write + Send> Socket for S {}

/// Connects to `http://host:port` or `unix:/path`.
pub(crate) fn connect(address: &str) -> io::Result<Box<dyn Socket>> {
    const TIMEOUT: Option<Duration> = Some(super::PATIENCE);
    if let Some(path) = address.strip_prefix("unix:") {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(TIMEOUT)?;
        return Ok(Box::new(stream));
    }
    let stream = TcpStream::connect(address.trim_start_matches("http://"))?;
    stream.set_read_timeout(TIMEOUT)?;
    Ok(Box::new(stream))
}

/// Sends these bytes and reads what comes back until the end.
pub(crate) fn exchange(address: &str, bytes: &[u8]) -> io::Result<Answer> {
    let mut socket = connect(address)?;
    socket.write_all(bytes)?;
    read_answer(&mut *socket)
}

pub(crate) fn read_answer(socket: &mut dyn Socket) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes).map_err(io::Error::other)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| io::Error::other(format!("no answer: {text:?}")))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status: {head:?}")))?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

pub(crate) fn request(method: &str, path: &str, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    let mut bytes = request.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) fn post(address: &str, path: &str, headers: &[(String, String)], body: &[u8]) -> io::Result<Answer> {
    exchange(address, &request("POST", path, headers, body))
}

pub(crate) fn get(address: &str, path: &str) -> io::Result<Answer> {
    exchange(address, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
}
