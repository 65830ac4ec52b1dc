//! As much of MQTT 3.1.1 as a cabinet speaks, written out so that a thousand of them need a socket
//! each and nothing else, and so that they can do what a good client library never would.

use std::io;

use actix_web::web::{Bytes, BytesMut};

/// Longest packet that is read.
const MOST: usize = 1 << 20;

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const PUBACK: u8 = 0x40;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;
const PING: [u8; 2] = [0xc0, 0];
const PONG: u8 = 0xd0;
const DISCONNECT: [u8; 2] = [0xe0, 0];

/// What the broker says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// Whether it lets us in: 0 is yes.
    Connected(u8),
    /// Whether each filter was granted.
    Subscribed(bool),
    /// A message; with a number, it wants to be acknowledged.
    Message {
        topic: String,
        payload: Bytes,
        number: Option<u16>,
    },
    /// It has our message of that number.
    Acknowledged(u16),
    Pong,
}

/// Who connects, and what is told of it when it is gone.
pub(super) struct Hello<'a> {
    pub client_id: &'a str,
    pub username: &'a str,
    pub password: &'a str,
    pub keep_alive_s: u16,
    pub will_topic: &'a str,
    pub will: &'a [u8],
}

impl Hello<'_> {
    pub fn packet(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(128 + self.will.len());
        text(&mut body, b"MQTT");
        // Clean session, a will of quality 1 that is not retained, name and password.
        body.extend([4, 0b1100_1110]);
        body.extend(self.keep_alive_s.to_be_bytes());
        for part in [self.client_id, self.will_topic] {
            text(&mut body, part.as_bytes());
        }
        text(&mut body, self.will);
        for part in [self.username, self.password] {
            text(&mut body, part.as_bytes());
        }
        framed(CONNECT, &body)
    }
}

pub(super) fn subscribe(number: u16, filter: &str) -> Vec<u8> {
    let mut body = number.to_be_bytes().to_vec();
    text(&mut body, filter.as_bytes());
    body.push(1);
    framed(SUBSCRIBE, &body)
}

/// A message of quality 1.
pub(super) fn publish(number: u16, topic: &[u8], payload: &[u8], again: bool) -> Vec<u8> {
    let mut body = Vec::with_capacity(topic.len() + payload.len() + 4);
    text(&mut body, topic);
    body.extend(number.to_be_bytes());
    body.extend(payload);
    framed(PUBLISH | 0b0010 | (u8::from(again) << 3), &body)
}

pub(super) fn acknowledge(number: u16) -> Vec<u8> {
    framed(PUBACK, &number.to_be_bytes())
}

pub(super) fn ping() -> Vec<u8> {
    PING.to_vec()
}

pub(super) fn disconnect() -> Vec<u8> {
    DISCONNECT.to_vec()
}

/// Takes the first packet out of what was read; nothing while it is not complete.
pub(super) fn take(read: &mut BytesMut) -> io::Result<Option<Packet>> {
    let Some((head, length)) = head(read)? else { return Ok(None) };
    if read.len() < head + length {
        return Ok(None);
    }
    let first = read.first().copied().unwrap_or_default();
    let mut body = read.split_to(head + length).freeze().split_off(head);
    Ok(Some(match first & 0xf0 {
        CONNACK => Packet::Connected(body.get(1).copied().ok_or_else(garbled)?),
        SUBACK => {
            number(&mut body)?;
            Packet::Subscribed(body.iter().all(|granted| *granted <= 2))
        }
        PUBACK => Packet::Acknowledged(number(&mut body)?),
        PONG => Packet::Pong,
        PUBLISH => {
            let length = usize::from(number(&mut body)?);
            if body.len() < length {
                return Err(garbled());
            }
            let topic = String::from_utf8(body.split_to(length).to_vec()).map_err(|_| garbled())?;
            let number = if first & 0b0110 == 0 { None } else { Some(number(&mut body)?) };
            Packet::Message { topic, payload: body, number }
        }
        _ => return Err(garbled()),
    }))
}

/// How long a packet's head is, and its body.
fn head(read: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let mut length = 0;
    for at in 1..=4 {
        let Some(byte) = read.get(at) else { return Ok(None) };
        length |= usize::from(byte & 0x7f) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            return if length > MOST { Err(garbled()) } else { Ok(Some((at + 1, length))) };
        }
    }
    Err(garbled())
}

fn number(body: &mut Bytes) -> io::Result<u16> {
    if body.len() < 2 {
        return Err(garbled());
    }
    let number = body.split_to(2);
    Ok(number.iter().fold(0, |number, byte| number << 8 | u16::from(*byte)))
}

fn garbled() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a packet of MQTT 3.1.1")
}

/// Texts are preceded by their length; what is too long is cut.
fn text(body: &mut Vec<u8>, text: &[u8]) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    body.extend(length.to_be_bytes());
    body.extend(text.iter().take(usize::from(length)));
}

fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(body.len() + 5);
    packet.push(first);
    let mut length = body.len();
    loop {
        let digit = u8::try_from(length & 0x7f).unwrap_or_default();
        length >>= 7;
        packet.push(digit | if length > 0 { 0x80 } else { 0 });
        if length == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> BytesMut {
        BytesMut::from(bytes)
    }

    #[test]
    fn a_message_is_read_as_it_was_written_and_in_pieces() {
        for size in [0, 1, 127, 128, 20_000] {
            let payload = vec![b'x'; size];
            let whole = publish(7, b"a/b", &payload, true);
            let mut bytes = read(&whole[..whole.len() - 1]);
            assert_eq!(take(&mut bytes).unwrap(), None, "{size}");
            bytes.extend_from_slice(&whole[whole.len() - 1..]);
            bytes.extend_from_slice(&acknowledge(9));
            let message =
                Packet::Message { topic: "a/b".into(), payload: payload.into(), number: Some(7) };
            assert_eq!(take(&mut bytes).unwrap(), Some(message));
            assert_eq!(take(&mut bytes).unwrap(), Some(Packet::Acknowledged(9)));
            assert_eq!(take(&mut bytes).unwrap(), None);
        }
    }

    #[test]
    fn answers_are_understood() {
        assert_eq!(take(&mut read(&[0x20, 2, 0, 5])).unwrap(), Some(Packet::Connected(5)));
        assert_eq!(take(&mut read(&[0x90, 3, 0, 1, 1])).unwrap(), Some(Packet::Subscribed(true)));
        assert_eq!(
            take(&mut read(&[0x90, 3, 0, 1, 0x80])).unwrap(),
            Some(Packet::Subscribed(false))
        );
        assert_eq!(take(&mut read(&[0xd0, 0])).unwrap(), Some(Packet::Pong));
    }

    #[test]
    fn garbage_is_an_error_and_no_panic() {
        for bytes in [
            &[0x20, 0][..],
            &[0x20, 1, 0],
            &[0x30, 1, 0],
            &[0x30, 4, 0, 9, 0, 0],
            &[0x32, 3, 0, 1, b'a'],
            &[0x30, 3, 0, 1, 0xff],
            &[0x40, 1, 0],
            &[0xf0, 0],
            &[0x30, 0xff, 0xff, 0xff, 0xff],
            &[0x30, 0xff, 0xff, 0xff, 0x7f],
        ] {
            assert!(take(&mut read(bytes)).is_err(), "{bytes:?}");
        }
    }
}
