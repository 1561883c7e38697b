//! Connections of clients end when they do not get on: a client that does not read what is written to it, and one
//! that asks nothing, or asks so slowly that nothing can be answered.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

/// How long the socket of a client may stay full.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection may be without an answer. A stream has its heartbeats, and no answer takes that long.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(75);

/// A connection whose writes must get on, and whose reads must lead to some.
pub struct WriteDeadline<S> {
    inner: S,
    limit: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    /// Since the connection began, or something was last written.
    answered: Instant,
    unanswered: Option<Pin<Box<Sleep>>>,
}

impl<S> WriteDeadline<S> {
    /// Ends writes that wait longer than [`WRITE_TIMEOUT`].
    pub fn new(inner: S) -> Self {
        Self::with_limit(inner, WRITE_TIMEOUT)
    }

    /// Ends writes that wait longer than `limit`.
    pub fn with_limit(inner: S, limit: Duration) -> Self {
        Self { inner, limit, waiting: None, answered: Instant::now(), unanswered: None }
    }

    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            self.answered = Instant::now();
            return written;
        }
        let limit = self.limit;
        let sleep = self
            .waiting
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + limit)));
        ready!(sleep.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteDeadline<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        if read.is_ready() {
            return read;
        }
        let until = self.answered + ANSWER_TIMEOUT;
        let sleep =
            self.unanswered.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        while sleep.as_mut().poll(context).is_ready() {
            if Instant::now() >= until {
                let error = "nothing was asked and answered for too long";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, error)));
            }
            sleep.as_mut().reset(until);
        }
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteDeadline<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, bytes);
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        self.watch(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.inner).poll_shutdown(context);
        self.watch(context, shut)
    }
}

/// A TCP listener whose connections have a [`WriteDeadline`], for `axum::serve`.
pub struct Listener(pub tokio::net::TcpListener);

impl axum::serve::Listener for Listener {
    type Io = WriteDeadline<tokio::net::TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, peer) = axum::serve::Listener::accept(&mut self.0).await;
        // An event is one small write; waiting for more would only delay it.
        let _ = stream.set_nodelay(true);
        (WriteDeadline::new(stream), peer)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}
