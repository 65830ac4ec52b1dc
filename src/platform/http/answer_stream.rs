//! A connection whose client must take its answers: one that leaves bytes untaken for too long is closed.
//!
//! actix-web bounds how long requests take to arrive, not how long answers take to leave: a client that
//! does not read, or reads a byte a minute, would keep its connection, its answer in memory and its event
//! stream's place for as long as it likes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::platform::telemetry::metrics::IntCounter;

/// How long answers may take to leave, and how often one did not.
#[derive(Clone)]
pub(super) struct WriteDeadline {
    pub timeout: Duration,
    pub missed: IntCounter,
}

/// A client's connection. When bytes find no room, those that wait then must be taken in time; a client that
/// takes a little of them now and then gains none.
pub(super) struct AnswerStream {
    inner: TcpStream,
    deadline: WriteDeadline,
    waiting: Option<Waiting>,
}

/// Bytes that wait for room.
struct Waiting {
    bytes: usize,
    is_over: Pin<Box<Sleep>>,
}

impl AnswerStream {
    pub fn new(inner: TcpStream, deadline: WriteDeadline) -> Self {
        Self { inner, deadline, waiting: None }
    }

    /// An error once bytes have waited for too long.
    fn time_is_over(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(waiting) = &mut self.waiting else { return Poll::Pending };
        ready!(waiting.is_over.as_mut().poll(cx));
        // What the kernel still holds is dropped with the connection, not offered for minutes more.
        let _ = self.inner.set_zero_linger();
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }

    /// Tries to write, and keeps account of what waits.
    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(error) = self.time_is_over(cx) {
            return Poll::Ready(Err(error));
        }
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        match (&written, &mut self.waiting) {
            (Poll::Ready(Ok(taken)), Some(waiting)) if *taken < waiting.bytes => {
                waiting.bytes -= taken;
            }
            (Poll::Ready(_), _) => self.waiting = None,
            (Poll::Pending, Some(_)) => {}
            (Poll::Pending, None) => {
                let is_over = Box::pin(sleep(self.deadline.timeout));
                self.waiting = Some(Waiting { bytes: bytes.len(), is_over });
                // So that its end wakes whoever writes.
                return self.time_is_over(cx).map(Err);
            }
        }
        written
    }

    /// Counts a client whose time is over: by our clock, or by the kernel's (TCP_USER_TIMEOUT).
    fn counted<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &result
            && error.kind() == io::ErrorKind::TimedOut
        {
            self.deadline.missed.inc();
        }
        result
    }
}

impl AsyncRead for AnswerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(cx, buffer);
        self.counted(read)
    }
}

impl AsyncWrite for AnswerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = self.write(cx, bytes);
        self.counted(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
