//! What can befall one request at a [`Door`](super::door::Door), and the bodies that it befalls.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::Sleep;

/// What befalls one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The server does not see it, and this is the answer.
    Answered(Response<Bytes>),
    /// The server does as it is asked, and this is the answer.
    AnsweredOtherwise(Response<Bytes>),
    /// The server does not see it, and the connection is reset.
    Reset,
    /// The server does as it is asked, and the connection is reset in place of the answer.
    AnswerLost,
    /// The server sees it so much later.
    Late(Duration),
    /// Its body is struck.
    Request(Strike),
    /// The body of its answer is.
    Answer(Strike),
}

/// What strikes a body when such a share of it has passed.
#[derive(Clone, Copy, Debug)]
pub struct Strike {
    pub share: f64,
    pub how: How,
}

/// How a body is struck.
#[derive(Clone, Copy, Debug)]
pub enum How {
    /// The rest never comes, and its connection ends.
    BreaksOff,
    /// The rest comes so much later.
    StandsStill(Duration),
}

/// Why a connection ends.
pub type Broken = Box<dyn Error + Send + Sync>;

/// A body that may be struck.
pub type Flow = UnsyncBoxBody<Bytes, Broken>;

/// `body`, as it comes.
pub fn whole<B>(body: B) -> Flow
where
    B: Body<Data = Bytes, Error: Into<Broken>> + Send + 'static,
{
    body.map_err(Into::into).boxed_unsync()
}

/// `body`, struck by `strike`.
pub fn struck<B>(body: B, strike: Strike) -> Flow
where
    B: Body<Data = Bytes, Error: Into<Broken>> + Send + Unpin + 'static,
{
    let length = body.size_hint().exact().unwrap_or_default();
    let left = (length as f64 * strike.share) as u64;
    Struck { body: whole(body), rest: Bytes::new(), left, how: strike.how, still: None }.boxed_unsync()
}

struct Struck {
    body: Flow,
    /// What came and has not passed yet.
    rest: Bytes,
    /// How much may pass before it is struck.
    left: u64,
    how: How,
    still: Option<Pin<Box<Sleep>>>,
}

impl Struck {
    /// Ready when it goes on.
    fn poll_strike(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let How::StandsStill(time) = self.how else { return Poll::Ready(Err("a test broke it off".into())) };
        ready!(self.still.get_or_insert_with(|| Box::pin(tokio::time::sleep(time))).as_mut().poll(context));
        self.left = u64::MAX;
        Poll::Ready(Ok(()))
    }
}

impl Body for Struck {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.left == 0
            && let Err(broken) = ready!(self.poll_strike(context))
        {
            return Poll::Ready(Some(Err(broken)));
        }
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(broken)) => return Poll::Ready(Some(Err(broken))),
                None => return Poll::Ready(None),
            }
        }
        let passes = self.left.min(self.rest.len() as u64);
        self.left -= passes;
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(passes as usize)))))
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
