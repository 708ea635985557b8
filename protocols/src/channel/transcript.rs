//! What was said so far: two running hashes, one for each direction, that both parties can compare.
//!
//! A direction's hash is BLAKE3 over its data frames, header and payload, in the order in which
//! they were sent; keep-alive frames depend on time and are left out. Its key is derived from the
//! session's number, so that the same bytes of another session do not match. This is no
//! authentication: the number is public, and who controls the wire from the first byte on can speak
//! to each party in the other's place.

use blake3::Hasher;

use crate::frame::HEADER;
use crate::{Domain, Role};

/// Bytes of a statement.
pub(crate) const STATEMENT: usize = 32;

pub(super) struct Transcript {
    id: [u8; 32],
    role: Role,
    sent: Direction,
    received: Direction,
}

/// The running hash of one direction, fed in blocks that are whole subtrees of BLAKE3's: it is
/// several times as fast as with small messages one by one.
struct Direction {
    hasher: Hasher,
    /// Less than a block.
    pending: Vec<u8>,
}

const BLOCK: usize = 1 << 16;

impl Direction {
    fn new(sender: Role, id: &[u8; 32]) -> Self {
        let key = Domain::Direction.derive(id, &[sender as u64]);
        Self { hasher: Hasher::new_keyed(&key), pending: Vec::with_capacity(BLOCK) }
    }

    fn add(&mut self, bytes: &[u8]) {
        // `pending` is shorter than a block before and after. The hasher has had whole blocks
        // alone, at multiples of their size.
        let (first, rest) = bytes.split_at(bytes.len().min(BLOCK - self.pending.len()));
        self.pending.extend_from_slice(first);
        if self.pending.len() == BLOCK {
            self.hasher.update(&self.pending);
            let (whole, rest) = rest.split_at(rest.len() / BLOCK * BLOCK);
            self.hasher.update(whole);
            self.pending.clear();
            self.pending.extend_from_slice(rest);
        }
    }

    fn digest(&self) -> [u8; 32] {
        self.hasher.clone().update(&self.pending).finalize().into()
    }
}

impl Transcript {
    pub(super) fn new(role: Role, id: &[u8; 32]) -> Self {
        let (sent, received) = (Direction::new(role, id), Direction::new(role.peer(), id));
        Self { id: *id, role, sent, received }
    }

    /// The party that keeps it.
    pub(super) const fn role(&self) -> Role {
        self.role
    }

    /// A frame that was sent, with its header.
    pub(super) fn sent(&mut self, frame: &[u8]) {
        self.sent.add(frame);
    }

    /// A frame that was received.
    pub(super) fn received(&mut self, header: &[u8; HEADER], payload: &[u8]) {
        self.received.add(header);
        self.received.add(payload);
    }

    /// What a party says of the conversation so far: the same at both parties where they have seen
    /// the same.
    pub(super) fn statement(&self, by: Role) -> [u8; STATEMENT] {
        let (server, client) = match self.role {
            Role::Server => (&self.sent, &self.received),
            Role::Client => (&self.received, &self.sent),
        };
        // By who sent, not by who keeps them: so both parties bind the same two digests in the same
        // order.
        let (server, client) = (server.digest(), client.digest());
        Domain::Statement.bind(&self.id, &[&[by as u8], &server, &client])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the server says after each party has sent a frame, of a session and with these
    /// payloads.
    fn said(id: u8, server: &[u8], client: &[u8]) -> [[u8; STATEMENT]; 2] {
        let header = [9; HEADER];
        let [mut at_server, mut at_client] =
            [Role::Server, Role::Client].map(|role| Transcript::new(role, &[id; 32]));
        at_server.sent(&[&header, server].concat());
        at_client.received(&header, server);
        at_client.sent(&[&header, client].concat());
        at_server.received(&header, client);
        for by in [Role::Server, Role::Client] {
            assert_eq!(at_server.statement(by), at_client.statement(by));
        }
        [Role::Server, Role::Client].map(|by| at_server.statement(by))
    }

    #[test]
    fn blocks_change_nothing() {
        let id = [3; 32];
        let bytes: Vec<u8> = (0..5 * BLOCK + 77).map(|at| (at / 3) as u8).collect();
        for cuts in
            [vec![1, 2], vec![BLOCK], vec![BLOCK - 1, BLOCK, BLOCK + 1], vec![12, 3 * BLOCK + 5]]
        {
            let (mut direction, mut at) = (Direction::new(Role::Client, &id), 0);
            for end in cuts.into_iter().chain([bytes.len()]) {
                direction.add(&bytes[at..end]);
                at = end;
            }
            let key = Domain::Direction.derive(&id, &[Role::Client as u64]);
            assert_eq!(direction.digest(), *blake3::keyed_hash(&key, &bytes).as_bytes());
        }
    }

    #[test]
    fn a_statement_says_who_what_in_which_direction_and_in_which_session() {
        let statements =
            [said(1, &[1], &[2]), said(1, &[2], &[1]), said(1, &[1], &[3]), said(2, &[1], &[2])];
        let mut all = statements.concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 8);
    }
}
