//! As much of MQTT 3.1.1 as a client needs that publishes and subscribes with quality of service 1.

use std::io;

use actix_web::web::BytesMut;

/// A packet's length is a number of four times seven bits.
const LONGEST: usize = 0x0fff_ffff;
/// The longest packet that is no message.
const LONGEST_ANSWER: usize = 1024;
/// A topic with its length, and a number.
const LONGEST_MESSAGE_HEAD: usize = 2 + 0xffff + 2;

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
const PUBACK: u8 = 0x40;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;
const UNSUBSCRIBE: u8 = 0xa2;
const UNSUBACK: u8 = 0xb0;
const PINGREQ: u8 = 0xc0;
const PINGRESP: u8 = 0xd0;
const DISCONNECT: u8 = 0xe0;

/// What the broker says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// Whether it lets us in: 0 is yes.
    Connected(u8),
    /// Whether it granted what was asked for under that number, at the quality asked for.
    Granted(u16, bool),
    Ungranted,
    /// It has our message of that number.
    Acknowledged(u16),
    Pong,
    Message(Incoming),
    /// A message that was passed over; its number, if it wants to be acknowledged.
    PassedOver(Why, Option<u16>),
}

/// A message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Incoming {
    pub topic: String,
    pub payload: Vec<u8>,
    /// With a number, it wants to be acknowledged.
    pub number: Option<u16>,
}

/// Why a message was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    Oversized,
    /// Its topic is not text.
    Malformed,
}

/// Takes packets out of what was read.
pub(crate) struct Decoder {
    most_payload: usize,
    /// Bytes of a message that is passed over which have not come yet.
    to_skip: usize,
}

impl Decoder {
    /// Messages with larger payloads are passed over, and not kept while they come in.
    pub fn new(most_payload: usize) -> Self {
        Self { most_payload, to_skip: 0 }
    }

    /// The next packet; nothing while it has not come whole.
    ///
    /// # Errors
    /// This is no MQTT 3.1.1.
    pub fn next(&mut self, read: &mut BytesMut) -> io::Result<Option<Packet>> {
        let skipped = self.to_skip.min(read.len());
        let _ = read.split_to(skipped);
        self.to_skip -= skipped;
        let Some((head, length)) = head(read)? else { return Ok(None) };
        let first = read.first().copied().unwrap_or_default();
        let kind = first & 0xf0;
        let is_message = kind == PUBLISH;
        if !is_message && first != kind {
            return Err(garbled());
        }
        let most =
            if is_message { self.most_payload + LONGEST_MESSAGE_HEAD } else { LONGEST_ANSWER };
        if length > most {
            return if is_message { self.pass_over(read, head, length) } else { Err(garbled()) };
        }
        if read.len() < head + length {
            return Ok(None);
        }
        let packet = read.split_to(head + length);
        let mut body = Reader(packet.get(head..).unwrap_or_default());
        let packet = match kind {
            PUBLISH => self.message(first, body)?,
            CONNACK => body
                .number()?
                .to_be_bytes()
                .last()
                .copied()
                .map_or_else(|| Err(garbled()), |code| Ok(Packet::Connected(code)))?,
            SUBACK => Packet::Granted(body.number()?, body.0 == [1]),
            UNSUBACK => Packet::Ungranted,
            PUBACK => Packet::Acknowledged(body.number()?),
            PINGRESP => Packet::Pong,
            _ => return Err(garbled()),
        };
        Ok(Some(packet))
    }

    fn message(&self, first: u8, mut body: Reader<'_>) -> io::Result<Packet> {
        let topic = body.text()?;
        let number = if first & 0b0110 == 0 { None } else { Some(body.number()?) };
        if body.0.len() > self.most_payload {
            return Ok(Packet::PassedOver(Why::Oversized, number));
        }
        let Ok(topic) = str::from_utf8(topic) else {
            return Ok(Packet::PassedOver(Why::Malformed, number));
        };
        let (topic, payload) = (topic.to_owned(), body.0.to_vec());
        Ok(Packet::Message(Incoming { topic, payload, number }))
    }

    /// Of a message that is much too long, only its number is waited for.
    fn pass_over(
        &mut self,
        read: &mut BytesMut,
        head: usize,
        length: usize,
    ) -> io::Result<Option<Packet>> {
        if read.len() < head + LONGEST_MESSAGE_HEAD {
            return Ok(None);
        }
        let first = read.first().copied().unwrap_or_default();
        let mut body = Reader(read.get(head..).unwrap_or_default());
        body.text()?;
        let number = if first & 0b0110 == 0 { None } else { Some(body.number()?) };
        let come = read.len().min(head + length);
        let _ = read.split_to(come);
        self.to_skip = head + length - come;
        Ok(Some(Packet::PassedOver(Why::Oversized, number)))
    }
}

/// What is left of a packet.
struct Reader<'p>(&'p [u8]);

impl<'p> Reader<'p> {
    fn bytes(&mut self, count: usize) -> io::Result<&'p [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or_else(garbled)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn number(&mut self) -> io::Result<u16> {
        let bytes = self.bytes(2)?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u16::from(*byte)))
    }

    fn text(&mut self) -> io::Result<&'p [u8]> {
        let length = self.number()?;
        self.bytes(usize::from(length))
    }
}

/// How long a packet's head is, and its body.
fn head(read: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let mut length = 0;
    for at in 1..=4 {
        let Some(byte) = read.get(at) else { return Ok(None) };
        length |= usize::from(byte & 0x7f) << (7 * (at - 1));
        if byte & 0x80 == 0 {
            return Ok(Some((at + 1, length)));
        }
    }
    Err(garbled())
}

fn garbled() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a packet of MQTT 3.1.1")
}

/// Who connects.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hello<'a> {
    pub client_id: &'a str,
    pub username: Option<&'a str>,
    pub password: Option<&'a str>,
    pub keep_alive_s: u16,
    /// Topic and payload that the broker publishes when the connection breaks.
    pub will: Option<(&'a str, &'a [u8])>,
}

impl Hello<'_> {
    /// Nothing is kept of an earlier connection.
    pub fn write(&self, out: &mut BytesMut) {
        const CLEAN_SESSION: u8 = 0b10;
        const WILL_OF_QUALITY_1: u8 = 0b1100;
        const PASSWORD: u8 = 0b0100_0000;
        const USERNAME: u8 = 0b1000_0000;
        let mut flags = CLEAN_SESSION;
        let mut parts = vec![self.client_id.as_bytes()];
        if let Some((topic, payload)) = self.will {
            flags |= WILL_OF_QUALITY_1;
            parts.extend([topic.as_bytes(), payload]);
        }
        for (part, flag) in [(self.username, USERNAME), (self.password, PASSWORD)] {
            if let Some(part) = part {
                flags |= flag;
                parts.push(part.as_bytes());
            }
        }
        let length = 10 + parts.iter().map(|part| 2 + part.len().min(0xffff)).sum::<usize>();
        start(out, CONNECT, length);
        text(out, b"MQTT");
        out.extend_from_slice(&[4, flags]);
        number(out, self.keep_alive_s);
        for part in parts {
            text(out, part);
        }
    }
}

pub(crate) fn subscribe(out: &mut BytesMut, under: u16, filter: &str) {
    start(out, SUBSCRIBE, 2 + 2 + filter.len() + 1);
    number(out, under);
    text(out, filter.as_bytes());
    out.extend_from_slice(&[1]);
}

pub(crate) fn unsubscribe(out: &mut BytesMut, under: u16, filter: &str) {
    start(out, UNSUBSCRIBE, 2 + 2 + filter.len());
    number(out, under);
    text(out, filter.as_bytes());
}

/// A message of quality 1, never retained. Its parts must have passed the bounds of a packet.
pub(crate) fn publish(out: &mut BytesMut, under: u16, topic: &[u8], payload: &[u8], again: bool) {
    start(out, PUBLISH | 0b0010 | (u8::from(again) << 3), 2 + topic.len() + 2 + payload.len());
    text(out, topic);
    number(out, under);
    out.extend_from_slice(payload);
}

pub(crate) fn acknowledge(out: &mut BytesMut, the_number: u16) {
    start(out, PUBACK, 2);
    number(out, the_number);
}

pub(crate) fn ping(out: &mut BytesMut) {
    start(out, PINGREQ, 0);
}

pub(crate) fn disconnect(out: &mut BytesMut) {
    start(out, DISCONNECT, 0);
}

fn number(out: &mut BytesMut, number: u16) {
    out.extend_from_slice(&number.to_be_bytes());
}

/// Texts are preceded by their length; what is too long is cut.
fn text(out: &mut BytesMut, text: &[u8]) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    number(out, length);
    out.extend_from_slice(text.get(..usize::from(length)).unwrap_or_default());
}

fn start(out: &mut BytesMut, first: u8, length: usize) {
    out.extend_from_slice(&[first]);
    let mut length = length.min(LONGEST);
    loop {
        let digit = u8::try_from(length & 0x7f).unwrap_or_default();
        length >>= 7;
        out.extend_from_slice(&[digit | if length > 0 { 0x80 } else { 0 }]);
        if length == 0 {
            return;
        }
    }
}

/// Any bytes, the first of which says in what pieces the rest comes: that makes no difference, and a
/// message that is read is the same when it is written and read again.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else { return };
    let whole = packets(bytes, bytes.len().max(1));
    assert_eq!(whole, packets(bytes, usize::from(*piece).max(1)));
    for packet in whole.0 {
        let Packet::Message(Incoming { topic, payload, number: Some(number), .. }) = packet else {
            continue;
        };
        assert!(payload.len() <= FUZZED_PAYLOAD);
        let mut written = BytesMut::new();
        publish(&mut written, number, topic.as_bytes(), &payload, false);
        let incoming = Incoming { topic, payload, number: Some(number) };
        let (read, garbled) = packets(&written, written.len());
        assert!(!garbled && read == [Packet::Message(incoming)]);
    }
}

#[cfg(any(test, feature = "fuzzing"))]
const FUZZED_PAYLOAD: usize = 1_000;

/// What is read of bytes that come in pieces, and whether they end in what is no packet.
#[cfg(any(test, feature = "fuzzing"))]
fn packets(bytes: &[u8], piece: usize) -> (Vec<Packet>, bool) {
    let (mut decoder, mut read) = (Decoder::new(FUZZED_PAYLOAD), BytesMut::new());
    let mut packets = Vec::new();
    for piece in bytes.chunks(piece) {
        read.extend_from_slice(piece);
        loop {
            match decoder.next(&mut read) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(_) => return (packets, true),
            }
        }
    }
    (packets, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
        let mut out = BytesMut::new();
        write(&mut out);
        out.to_vec()
    }

    fn message(size: usize) -> Vec<u8> {
        written(|out| publish(out, 7, b"a/b", &vec![b'x'; size], false))
    }

    /// All packets in these bytes, when they come in pieces of that size.
    fn all_packets(bytes: &[u8], piece: usize, most_payload: usize) -> io::Result<Vec<Packet>> {
        let (mut decoder, mut read) = (Decoder::new(most_payload), BytesMut::new());
        let mut packets = Vec::new();
        for piece in bytes.chunks(piece) {
            read.extend_from_slice(piece);
            while let Some(packet) = decoder.next(&mut read)? {
                packets.push(packet);
            }
        }
        assert!(read.is_empty(), "{} bytes are left", read.len());
        Ok(packets)
    }

    #[test]
    fn messages_are_read_as_they_were_written_whatever_the_pieces() {
        for size in [0, 1, 119, 120, 20_000] {
            let bytes = [message(size), written(|out| acknowledge(out, 9))].concat();
            for piece in [1, 2, 1000, bytes.len()] {
                let incoming =
                    Incoming { topic: "a/b".into(), payload: vec![b'x'; size], number: Some(7) };
                let expected = [Packet::Message(incoming), Packet::Acknowledged(9)];
                assert_eq!(all_packets(&bytes, piece, 20_000).unwrap(), expected, "{size} {piece}");
            }
        }
    }

    #[test]
    fn what_is_too_large_is_passed_over_and_not_kept() {
        for size in [1001, 70_000, 3_000_000] {
            let bytes = [message(size), message(1000)].concat();
            for piece in [1000, bytes.len()] {
                let packets = all_packets(&bytes, piece, 1000).unwrap();
                assert_eq!(packets[0], Packet::PassedOver(Why::Oversized, Some(7)), "{size}");
                assert!(matches!(&packets[1], Packet::Message(it) if it.payload.len() == 1000));
                assert_eq!(packets.len(), 2);
            }
        }
        let (mut decoder, mut read) = (Decoder::new(1000), BytesMut::new());
        for piece in message(3_000_000).chunks(4096) {
            read.extend_from_slice(piece);
            decoder.next(&mut read).unwrap();
            assert!(read.len() <= LONGEST_MESSAGE_HEAD + 2 * 4096);
        }
    }

    #[test]
    fn a_topic_that_is_no_text_is_passed_over() {
        let bytes = written(|out| publish(out, 7, b"a\xff", b"x", false));
        let expected = [Packet::PassedOver(Why::Malformed, Some(7))];
        assert_eq!(all_packets(&bytes, 100, 100).unwrap(), expected);
    }

    #[test]
    fn answers_are_understood() {
        for (bytes, packet) in [
            (&[0x20, 2, 0, 5][..], Packet::Connected(5)),
            (&[0x90, 3, 0, 1, 1], Packet::Granted(1, true)),
            (&[0x90, 3, 0, 1, 0], Packet::Granted(1, false)),
            (&[0x90, 3, 0, 1, 0x80], Packet::Granted(1, false)),
            (&[0xb0, 2, 0, 1], Packet::Ungranted),
            (&[0xd0, 0], Packet::Pong),
        ] {
            assert_eq!(all_packets(bytes, 1, 100).unwrap(), [packet]);
        }
    }

    #[test]
    fn garbage_is_an_error_and_no_panic() {
        for bytes in [
            &[0x20, 0][..],
            &[0x30, 1, 0],
            &[0x30, 4, 0, 9, 0, 0],
            &[0x32, 3, 0, 1, b'a'],
            &[0x40, 1, 0],
            &[0x48, 2, 0, 1],
            &[0xf0, 0],
            &[0x20, 0xff, 0x7f],
            &[0x30, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert!(all_packets(bytes, 100, 1000).is_err(), "{bytes:?}");
        }
        proptest::proptest!(|(bytes: Vec<u8>, piece in 1_usize..20)| {
            let (mut decoder, mut read) = (Decoder::new(50), BytesMut::new());
            'all: for piece in bytes.chunks(piece) {
                read.extend_from_slice(piece);
                loop {
                    match decoder.next(&mut read) {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(_) => break 'all,
                    }
                }
            }
        });
    }

    #[test]
    fn who_connects_says_only_what_it_has() {
        let hello =
            Hello { client_id: "me", username: None, password: None, keep_alive_s: 15, will: None };
        let plain = written(|out| hello.write(out));
        assert_eq!(plain, b"\x10\x0e\0\x04MQTT\x04\x02\0\x0f\0\x02me");
        let full =
            Hello { username: Some("u"), password: Some("p"), will: Some(("t", b"w")), ..hello };
        let full = written(|out| full.write(out));
        assert_eq!(full, b"\x10\x1a\0\x04MQTT\x04\xce\0\x0f\0\x02me\0\x01t\0\x01w\0\x01u\0\x01p");
    }
}
