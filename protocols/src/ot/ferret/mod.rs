//! Ferret: correlated OTs for a fraction of a bit each, out of OTs that there are
//! already.
//!
//! **Functionality.** That of [SoftSpoken](super::softspoken): the pools grow, in both directions
//! at the same time; the sender gets `K` with `lsb(K) = 0` for its one `Δ` of the session, the
//! receiver `M = K xor x Δ` with random `x = lsb(M)`.
//!
//! **Protocol** (Yang, Weng, Lan, Zhang, Wang: Ferret, CCS 2020, section 4, regular noise,
//! semi-honest; trees as in Guo et al.: Half-Tree, Eurocrypt 2023, section 4). Write the OTs
//! that are kept back as vectors `K_0`, `M_0 = K_0 xor x_0 Δ`, and let `A` be a public sparse
//! matrix of ten ones a row. For one [batch](batch) of `t` trees:
//! 1. *Noise* ([`super::ggm::in_place`]): the sender owns `t` correlated half-trees with leaves
//!    `v`; the receiver, whose punctures are what the choices of `t` times `depth` kept OTs
//!    say, gets `w = v xor u Δ` with `u` one in each tree's puncture. The sender sends a block for
//!    every level but the first.
//! 2. *Code* ([`crate::kernels::Code`]): `K = v xor A K_0` and `M = w xor A M_0 = K xor x Δ` with
//!    `x = u xor A x_0`.
//! 3. The first of the new OTs take the place of those that were used, the others go into the
//!    pool.
//!
//! Leaves are taken without their lowest bit, which holds `u`: so the choices stay in the lowest
//! bits through all sums.
//!
//! **Cost:** `128 (depth - 1)` bits a tree from the sender; a demand takes the fewest trees that
//! serve it ([`Parameters`]). The receiver sends nothing, so all batches of both directions
//! together are one round. Once per session ([`Bootstrap`]) SoftSpoken makes the OTs of a batch of
//! the smallest set, which makes those of the first batch of another.
//!
//! **Security:** semi-honest. `x` is pseudorandom to the sender by the hardness of LPN with regular
//! noise and this code, whose secret is `x_0` and whose noise is `u`: see [`Parameters`]. The
//! code's seed is public: derived from the session's number, which both parties have contributed
//! to, fresh for every batch. The receiver sees sums masked by OTs of which it knows one
//! side: see `ot::ggm`. Every tree has a hash key of its own, derived from one of the batch by the
//! tree's number, under which `2^depth - 2` calls are made: `2^(128 - depth)` evaluations of the
//! cipher, 2^115 to 2^118, are needed to hit one of them, however many batches a session takes.
//! (One key a batch: 2^104 for the 5 to 20 M OTs of a ResNet-20 with set 13.) The leaves of a
//! tree sum up to `Δ`, and so do the `K` and `M` of a block; as everywhere, OTs are used
//! through a hash alone that is correlation robust, each use under a key of its own.

mod batch;
mod bootstrap;
mod extend;
mod pages;
mod parameters;

pub(crate) use batch::Ferret;
pub use bootstrap::Bootstrap;
pub use extend::FerretExtend;
pub use parameters::Parameters;

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod tests;
