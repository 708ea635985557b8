//! Frames: a header of twelve bytes and at most [`MAX_PAYLOAD`] bytes. The length of a message in
//! frames is here too, below the channel: prices are made of it.

/// The longest payload of one frame; longer messages are cut.
pub(crate) const MAX_PAYLOAD: usize = 1 << 20;
/// Bytes of a header: kind, a zero byte, step (2), depth (4), payload length (4), little-endian.
pub(crate) const HEADER: usize = 12;

/// The step of a frame that ends the conversation: see `Channel::farewell`.
pub(crate) const NOTICE: u16 = u16::MAX;

const DATA: u8 = 0xD1;
const KEEP_ALIVE: u8 = 0xD2;

/// Bytes on the wire of a message of `payload` bytes, with the headers of the frames that it is cut
/// into. An empty message is not sent.
pub(crate) const fn framed_len(payload: usize) -> u64 {
    payload as u64 + payload.div_ceil(MAX_PAYLOAD) as u64 * HEADER as u64
}

/// One data frame.
pub(crate) struct Frame {
    pub tag: u16,
    pub depth: u32,
    pub payload: Vec<u8>,
}

/// A parsed header.
pub(crate) enum Header {
    Data { tag: u16, depth: u32, len: usize },
    KeepAlive,
}

impl Frame {
    pub(crate) const fn data(tag: u16, depth: u32, payload: Vec<u8>) -> Self {
        Self { tag, depth, payload }
    }
}

/// The bytes of a data frame.
pub(crate) fn data(tag: u16, depth: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(&header(tag, depth, payload.len()));
    bytes.extend_from_slice(payload);
    bytes
}

/// The header of a data frame.
pub(crate) fn header(tag: u16, depth: u32, len: usize) -> [u8; HEADER] {
    let [t0, t1] = tag.to_le_bytes();
    let [d0, d1, d2, d3] = depth.to_le_bytes();
    let [l0, l1, l2, l3] = (len as u32).to_le_bytes();
    [DATA, 0, t0, t1, d0, d1, d2, d3, l0, l1, l2, l3]
}

/// A frame that only says that this party is alive.
pub(crate) fn keep_alive() -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    bytes[0] = KEEP_ALIVE;
    bytes
}

impl Header {
    /// Reads a header, or says what was expected and what was found.
    pub(crate) fn parse(bytes: &[u8; HEADER]) -> Result<Self, (String, String)> {
        let [kind, zero, t0, t1, d0, d1, d2, d3, l0, l1, l2, l3] = *bytes;
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        match kind {
            _ if zero != 0 => {
                Err(("a frame header".into(), format!("a second byte of {zero:#04x}")))
            }
            KEEP_ALIVE if bytes[2..].iter().all(|b| *b == 0) => Ok(Self::KeepAlive),
            DATA if (1..=MAX_PAYLOAD).contains(&len) => Ok(Self::Data {
                tag: u16::from_le_bytes([t0, t1]),
                depth: u32::from_le_bytes([d0, d1, d2, d3]),
                len,
            }),
            DATA => Err((format!("a frame of 1 to {MAX_PAYLOAD} bytes"), format!("{len} bytes"))),
            _ => Err(("a frame of this protocol".into(), format!("a first byte of {kind:#04x}"))),
        }
    }
}
