//! ttrpc frames: a 10 byte header (u32 length, u32 stream id, u8 type, u8 flags; big endian) and a body.
//!
//! The decoder takes bytes as they come and is total: whatever arrives, it answers a frame, "more, please"
//! or an error, and holds at most one frame beyond what it was given.

/// Bytes before every body.
pub const HEADER_BYTES: usize = 10;
/// Largest body either side may send.
pub const MAX_BODY_BYTES: usize = 4 << 20;

/// Frame type of a request.
pub const REQUEST: u8 = 1;
/// Frame type of a response.
pub const RESPONSE: u8 = 2;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub stream: u32,
    pub kind: u8,
    pub flags: u8,
    pub body: Vec<u8>,
}

/// The peer announced a body beyond [`MAX_BODY_BYTES`]; nothing after it can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong(pub u32);

impl std::fmt::Display for TooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "ttrpc frame of {} bytes is over the limit of {MAX_BODY_BYTES}",
            self.0
        )
    }
}

impl std::error::Error for TooLong {}

/// Appends one frame to `out`. The error leaves `out` as it was.
pub fn encode(out: &mut Vec<u8>, stream: u32, kind: u8, body: &[u8]) -> Result<(), TooLong> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    if body.len() > MAX_BODY_BYTES {
        return Err(TooLong(length));
    }
    out.reserve(HEADER_BYTES + body.len());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(&[kind, 0]);
    out.extend_from_slice(body);
    Ok(())
}

/// Collects bytes and gives out whole frames in order. After an error it answers that error for ever.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
    failed: Option<TooLong>,
}

impl Decoder {
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        self.compact();
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` until more bytes came.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, TooLong> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let Some((header, after)) = rest.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let [l0, l1, l2, l3, s0, s1, s2, s3, kind, flags] = *header;
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        if size > MAX_BODY_BYTES {
            let error = TooLong(length);
            self.failed = Some(error);
            self.buffer = Vec::new();
            self.start = 0;
            return Err(error);
        }
        let Some(body) = after.get(..size) else {
            return Ok(None);
        };
        let frame = Frame {
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            kind,
            flags,
            body: body.to_vec(),
        };
        self.start += HEADER_BYTES + size;
        Ok(Some(frame))
    }

    /// Bytes held that belong to no frame given out yet.
    pub fn pending(&self) -> usize {
        self.buffer.len().saturating_sub(self.start)
    }

    fn compact(&mut self) {
        if self.start == 0 {
            return;
        }
        if self.pending() == 0 {
            // A large message must not cost its memory for the connection's whole life.
            if self.buffer.capacity() > 64 << 10 {
                self.buffer = Vec::new();
            } else {
                self.buffer.clear();
            }
        } else {
            self.buffer.drain(..self.start);
        }
        self.start = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_testing::Random;

    fn frames_of(random: &mut Random, count: usize) -> (Vec<Frame>, Vec<u8>) {
        let mut frames = Vec::new();
        let mut bytes = Vec::new();
        for _ in 0..count {
            let size = random.below(300);
            let frame = Frame {
                stream: random.draw() as u32,
                kind: random.draw() as u8,
                flags: 0,
                body: random.bytes(size),
            };
            encode(&mut bytes, frame.stream, frame.kind, &frame.body).expect("small body");
            frames.push(frame);
        }
        (frames, bytes)
    }

    #[test]
    fn any_cut_of_a_stream_gives_the_same_frames() {
        let mut random = Random(0x5eed);
        for _ in 0..200 {
            let (frames, bytes) = frames_of(&mut random, 8);
            let mut decoder = Decoder::default();
            let mut got = Vec::new();
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(1 + random.below(rest.len().min(97)));
                decoder.push(piece);
                rest = after;
                while let Some(frame) = decoder.next_frame().expect("valid stream") {
                    got.push(frame);
                }
            }
            assert_eq!(got, frames);
            assert_eq!(decoder.pending(), 0);
        }
    }

    #[test]
    fn random_bytes_never_break_the_decoder_nor_make_it_hoard() {
        let mut random = Random(0xfeed);
        for _ in 0..2000 {
            let mut decoder = Decoder::default();
            let mut fed = 0;
            for _ in 0..6 {
                let size = random.below(64);
                let bytes = random.bytes(size);
                fed += bytes.len();
                decoder.push(&bytes);
                while let Ok(Some(frame)) = decoder.next_frame() {
                    assert!(frame.body.len() <= fed);
                }
                assert!(decoder.pending() <= fed);
            }
        }
    }

    #[test]
    fn mutated_streams_end_in_frames_or_one_lasting_error() {
        let mut random = Random(0xcafe);
        for _ in 0..2000 {
            let (_, mut bytes) = frames_of(&mut random, 4);
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_frame() {}
            if let Err(error) = decoder.next_frame() {
                decoder.push(&bytes);
                assert_eq!(decoder.next_frame(), Err(error));
                assert_eq!(decoder.pending(), 0);
            }
        }
    }

    #[test]
    fn a_body_of_exactly_the_limit_passes_and_one_more_byte_does_not() {
        let mut bytes = Vec::new();
        encode(&mut bytes, 1, REQUEST, &vec![7; MAX_BODY_BYTES]).expect("at the limit");
        let mut decoder = Decoder::default();
        decoder.push(&bytes);
        let frame = decoder.next_frame().expect("at the limit").expect("whole");
        assert_eq!(frame.body.len(), MAX_BODY_BYTES);

        let mut out = Vec::new();
        assert!(encode(&mut out, 1, REQUEST, &vec![7; MAX_BODY_BYTES + 1]).is_err());
        assert!(out.is_empty());
        let mut header = ((MAX_BODY_BYTES + 1) as u32).to_be_bytes().to_vec();
        header.extend_from_slice(&[0, 0, 0, 1, 1, 0]);
        decoder.push(&header);
        assert!(decoder.next_frame().is_err());
    }
}
