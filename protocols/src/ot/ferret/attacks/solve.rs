//! The attack on sparse rows: a subset of the secret's positions, peeled so that it keeps more
//! samples than it has unknowns, and elimination over those samples alone.
//!
//! What it solves is an instance of our own, with the code that the protocol uses.

use std::collections::HashMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;

use crate::Block;
use crate::kernels::{Code, WEIGHT};

/// Equations beyond the unknowns: a system with noise in it is consistent once in 2^30.
const SPARE: usize = 30;

/// What an attempt came to.
pub(super) struct Attempt {
    /// Unknowns of the subset.
    pub(super) unknowns: usize,
    /// Where the equations were consistent: the part of the subset's positions in which the
    /// solution is the secret, or its complement.
    pub(super) agreement: Option<f64>,
}

/// A fresh instance and one attempt at it.
pub(super) fn attempt(seed: u64, t: usize, log_k: u32, depth: u32) -> Attempt {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let (k, block) = (1usize << log_k, 1usize << depth);
    let secret: Vec<bool> = (0..k).map(|_| rng.random()).collect();
    let rows = Code::new(Block(rng.random())).rows(t * block, k);
    let noise: Vec<usize> = (0..t).map(|tree| tree * block + rng.random_range(0..block)).collect();
    let mut samples: Vec<bool> =
        rows.iter().map(|row| row.iter().fold(false, |sum, &at| sum ^ secret[at])).collect();
    noise.iter().for_each(|&at| samples[at] ^= true);

    let (kept, subset) = peel(&rows, k);
    let number: HashMap<usize, usize> = subset.iter().enumerate().map(|(i, &at)| (at, i)).collect();
    let mut system = System::new(subset.len());
    for &row in &kept {
        system.equation(rows[row].iter().map(|at| number[at]), samples[row]);
    }
    let agreement = system.solve().map(|solution| {
        let equal = subset.iter().zip(&solution).filter(|(at, bit)| secret[**at] == **bit).count();
        equal.max(subset.len() - equal) as f64 / subset.len() as f64
    });
    Attempt { unknowns: subset.len(), agreement }
}

/// Takes the position that the fewest of the samples left need, and these samples with it, away
/// until few more samples than positions are left. Gives both.
fn peel(rows: &[[usize; WEIGHT]], k: usize) -> (Vec<usize>, Vec<usize>) {
    let mut users = vec![Vec::new(); k];
    for (row, indices) in rows.iter().enumerate() {
        indices.iter().for_each(|&at| users[at].push(row));
    }
    let mut degrees: Vec<usize> = users.iter().map(Vec::len).collect();
    let mut order: std::collections::BTreeSet<(usize, usize)> =
        degrees.iter().enumerate().map(|(at, &degree)| (degree, at)).collect();
    let mut left = vec![true; rows.len()];
    let mut samples = rows.len();
    while let Some(&(degree, at)) = order.first()
        && samples - degree >= order.len() - 1 + SPARE
    {
        order.remove(&(degree, at));
        for &row in &users[at] {
            if !std::mem::replace(&mut left[row], false) {
                continue;
            }
            samples -= 1;
            for &other in &rows[row] {
                if order.remove(&(degrees[other], other)) {
                    degrees[other] -= 1;
                    order.insert((degrees[other], other));
                }
            }
        }
    }
    let rows = (0..rows.len()).filter(|&row| left[row]).collect();
    (rows, order.into_iter().map(|(_, at)| at).collect())
}

/// Linear equations over bits.
struct System {
    unknowns: usize,
    /// Bit `i` is the coefficient of unknown `i`; the last bit is the right-hand side.
    rows: Vec<Vec<u64>>,
}

impl System {
    fn new(unknowns: usize) -> Self {
        Self { unknowns, rows: Vec::new() }
    }

    fn equation(&mut self, indices: impl Iterator<Item = usize>, sum: bool) {
        let mut row = vec![0; self.unknowns / 64 + 1];
        indices.for_each(|at| row[at / 64] ^= 1 << (at % 64));
        row[self.unknowns / 64] ^= u64::from(sum) << (self.unknowns % 64);
        self.rows.push(row);
    }

    /// A solution, unknowns that no equation decides zero, or none where equations contradict each
    /// other. Rows have even weight, so that one unknown at least is free.
    fn solve(mut self) -> Option<Vec<bool>> {
        let mut pivots = Vec::new();
        for column in 0..self.unknowns {
            let first = pivots.len();
            let Some(found) = (first..self.rows.len()).find(|&row| bit(&self.rows[row], column))
            else {
                continue;
            };
            self.rows.swap(first, found);
            let pivot = self.rows[first].clone();
            for (at, row) in self.rows.iter_mut().enumerate() {
                if at != first && bit(row, column) {
                    // Columns to the left are zero in the pivot's row.
                    let from = column / 64;
                    row[from..].iter_mut().zip(&pivot[from..]).for_each(|(a, b)| *a ^= b);
                }
            }
            pivots.push(column);
        }
        let contradicts = self.rows[pivots.len()..].iter().any(|row| bit(row, self.unknowns));
        let mut solution = vec![false; self.unknowns];
        for (row, &column) in self.rows.iter().zip(&pivots) {
            solution[column] = bit(row, self.unknowns);
        }
        (!contradicts).then_some(solution)
    }
}

fn bit(row: &[u64], at: usize) -> bool {
    row[at / 64] >> (at % 64) & 1 == 1
}
