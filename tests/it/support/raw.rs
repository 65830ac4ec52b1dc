//! Requests below HTTP: bytes as they are, pieces, pauses.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// Sends bytes as they are and reads the answer until the other side closes.
pub fn exchange(addr: SocketAddr, request: &str) -> Option<Reply> {
    let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    read_reply(&mut stream)
}

/// Reads one answer, whose connection is to be closed by the other side or which has a length.
pub fn read_reply(stream: &mut TcpStream) -> Option<Reply> {
    let mut bytes = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        if let Some(reply) = whole_reply(&bytes, false) {
            return Some(reply);
        }
        match stream.read(&mut piece) {
            Ok(0) => return whole_reply(&bytes, true),
            Ok(read) => bytes.extend_from_slice(&piece[..read]),
            Err(_) => return None,
        }
    }
}

fn whole_reply(bytes: &[u8], ended: bool) -> Option<Reply> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers: HashMap<String, String> = lines.filter_map(header).collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    let whole = length.map_or(ended || status == 204, |length: usize| body.len() >= length);
    whole.then(|| Reply { status, headers, body: body.to_owned() })
}

/// Sends a request and reads nothing of what is answered, of which little fits on the way.
pub async fn unread(addr: SocketAddr, request: &str) -> tokio::net::TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(addr).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
    stream
}
