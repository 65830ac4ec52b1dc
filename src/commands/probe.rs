//! Asks a server of this configuration how it is: for images that have no other program to ask with.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::app;
use crate::platform::config::{ConfigSource, CoreSettings};

/// For each of connecting, asking, and each piece of the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The status line is all that is looked at.
const MOST_BYTES: u64 = 64;

/// Asks for `path` where the configuration listens.
///
/// # Errors
/// The configuration is not valid, nobody answers in time, or the answer is another than 200.
pub fn probe(source: &ConfigSource, path: &str) -> anyhow::Result<()> {
    let config = source.load()?;
    let Ok(core) = CoreSettings::read(&config, &app::KNOWN) else {
        bail!("the configuration is not valid: fleet check-config tells what is wrong");
    };
    let addr = reachable(core.http.listen);
    let line = ask(addr, path).with_context(|| format!("nobody answers at {addr}"))?;
    if line.split(' ').nth(1) != Some("200") {
        bail!("{path}: {}", line.trim_end());
    }
    Ok(())
}

/// Where a program of the same machine finds who listens at `listen`.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// The status line of the answer.
fn ask(addr: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n")?;
    let mut head = Vec::new();
    stream.take(MOST_BYTES).read_to_end(&mut head)?;
    let text = String::from_utf8_lossy(&head);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_found_on_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:80", "[::1]:80"),
            ("10.1.2.3:8080", "10.1.2.3:8080"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
