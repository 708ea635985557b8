//! Widths within budgets: from the estimate's optimum to what the plan's own price and the
//! network's own loss confirm.

use std::cell::RefCell;
use std::collections::HashMap;

use fusion::planner::{fastest, inference_bits};

use super::correction::Correction;
use super::estimate::Estimate;
use super::measured::Measured;
use super::planned::smallest;
use super::widths::{Width, uniform_widths, widths};
use super::{Progress, SearchError, SearchOptions, Sensitivity};
use crate::quantize::{BitWidths, Quantizer};

/// Chooses widths.
pub(super) struct Chooser<'a> {
    quantizer: &'a Quantizer<'a>,
    sensitivity: &'a Sensitivity,
    estimate: Estimate<'a>,
    measured: &'a Measured,
    options: &'a SearchOptions,
    /// Widths priced so far: planning is most of a choice's time, and budgets that are near each
    /// other lead to the same widths.
    priced: RefCell<HashMap<BitWidths, Budgets>>,
}

/// Bits that one inference may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budgets {
    /// Offline and online.
    pub bits: u64,
    /// Online.
    pub online_bits: u64,
}

/// No bound; far from where sums overflow.
pub(super) const UNBOUNDED: u64 = u64::MAX / 4;
/// Rounds in which the estimate's budget is corrected by the plan's price.
const CORRECTIONS: usize = 10;
/// Single widths tried at a budget's edge.
const RAISES: usize = 12;
/// Narrower plans tried where the loss is saturated.
const CHEAPER: usize = 4;
/// Halvings of an interval of budgets.
const HALVINGS: usize = 6;
/// Nats of divergence that no accuracy tells apart.
const SATURATED: f64 = 0.0005;

impl Budgets {
    fn admit(self, price: Self) -> bool {
        price.bits <= self.bits && price.online_bits <= self.online_bits
    }

    /// As many bits less as some plan was too dear.
    pub(super) fn less(self, over: u64) -> Self {
        let [bits, online_bits] = [self.bits, self.online_bits]
            .map(|budget| if budget == UNBOUNDED { budget } else { budget.saturating_sub(over) });
        Self { bits, online_bits }
    }
}

impl<'a> Chooser<'a> {
    pub(super) fn new(
        quantizer: &'a Quantizer<'a>,
        sensitivity: &'a Sensitivity,
        measured: &'a Measured,
        options: &'a SearchOptions,
    ) -> Self {
        let estimate = Estimate::new(quantizer, sensitivity, options);
        Self { quantizer, sensitivity, estimate, measured, options, priced: RefCell::default() }
    }

    /// The widths that meet everything asked for, at the least loss; or with an accuracy asked for,
    /// at the least price.
    pub(super) fn choose(
        &self,
        budgets: Budgets,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<BitWidths, SearchError> {
        let budgets = match self.options.budget_seconds {
            Some(seconds) => self.within_seconds(budgets, seconds, progress)?,
            None => budgets,
        };
        if let Some(accuracy) = self.options.min_accuracy {
            return self.accurate(budgets, accuracy, progress);
        }
        let start = self.within(budgets, progress)?;
        let (start, budgets) = self.cheaper(budgets, start, progress)?;
        self.swap(budgets, start, progress)
    }

    /// The bits of the cheapest plan at some widths.
    fn price(&self, bit_widths: &BitWidths) -> Result<Budgets, SearchError> {
        if let Some(&price) = self.priced.borrow().get(bit_widths) {
            return Ok(price);
        }
        let (graph, weights) = self.quantizer.quantize(bit_widths)?;
        let plan = smallest(&graph, &weights, self.options)?;
        let price =
            Budgets { bits: inference_bits(&plan), online_bits: plan.cost(1).online.bits() };
        self.priced.borrow_mut().insert(bit_widths.clone(), price);
        Ok(price)
    }

    fn narrowest(&self) -> BitWidths {
        uniform_widths(self.quantizer.activations(), 2)
    }

    fn impossible(&self, budgets: Budgets, smallest: Budgets) -> SearchError {
        if smallest.bits > budgets.bits {
            return SearchError::Impossible { budget: budgets.bits, smallest: smallest.bits };
        }
        SearchError::ImpossibleOnline {
            budget: budgets.online_bits,
            smallest: smallest.online_bits,
        }
    }

    /// The widths of the least expected loss whose cheapest plan meets the budgets.
    pub(super) fn within(
        &self,
        budgets: Budgets,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<BitWidths, SearchError> {
        let narrowest = self.narrowest();
        let smallest = self.price(&narrowest)?;
        if !budgets.admit(smallest) {
            return Err(self.impossible(budgets, smallest));
        }
        // Invariant: `best` meets the budgets by the plan's own price.
        let mut best = (self.sensitivity.loss(&narrowest), narrowest);
        let mut corrections = [budgets.bits, budgets.online_bits].map(Correction::new);
        for done in 0..CORRECTIONS {
            progress(Progress { phase: "dynamic program", done, of: CORRECTIONS });
            let told = [0, 1].map(|which| corrections[which].told());
            // The narrowest plan fits, so an estimate that finds nothing prices too high.
            let Some(bit_widths) = self.estimate.choose(told) else {
                corrections.iter_mut().for_each(Correction::nothing_found);
                continue;
            };
            let exact = self.price(&bit_widths)?;
            let loss = self.sensitivity.loss(&bit_widths);
            let admitted = budgets.admit(exact);
            if admitted && loss < best.0 {
                best = (loss, bit_widths);
            }
            corrections[0].found(exact.bits, admitted);
            corrections[1].found(exact.online_bits, admitted);
            if admitted && corrections.iter().all(Correction::is_settled) {
                break;
            }
        }
        self.raise(budgets, best.1, progress)
    }

    /// Raises single widths, those that gain most first, while the cheapest plan stays within the
    /// budgets.
    fn raise(
        &self,
        budgets: Budgets,
        start: BitWidths,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<BitWidths, SearchError> {
        let mut current = start;
        let mut refused: Vec<Width> = Vec::new();
        // Each round prices one plan, raised or refused. A width refused stays refused: others
        // raised since leave less room.
        for done in 0..RAISES {
            progress(Progress { phase: "raising widths", done, of: RAISES });
            let loss = self.sensitivity.loss(&current);
            let gains =
                widths(&current).filter(|which| !refused.contains(which)).filter_map(|which| {
                    let raised = which.moved(&current, 1)?;
                    Some((loss - self.sensitivity.loss(&raised), which, raised))
                });
            let best = gains.filter(|(gain, ..)| *gain > 0.0).max_by(|a, b| a.0.total_cmp(&b.0));
            let Some((_, which, raised)) = best else { break };
            if budgets.admit(self.price(&raised)?) {
                current = raised;
            } else {
                refused.push(which);
            }
        }
        Ok(current)
    }

    /// Where the loss is saturated, width buys nothing but time: the cheapest widths whose measured
    /// loss is as good.
    fn cheaper(
        &self,
        budgets: Budgets,
        start: BitWidths,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(BitWidths, Budgets), SearchError> {
        // The threshold is that of the start, not of the best so far: tolerances do not add up.
        let most = self.measured.loss(self.quantizer, &start).mean() + SATURATED;
        let (mut low, mut high) = (self.price(&self.narrowest())?, self.price(&start)?);
        let mut best = (start, budgets);
        // Invariant: widths within `high` lose no more than `most`; those within `low` are taken to
        // lose more, or there are none. The best is that of `high`.
        for done in 0..CHEAPER {
            progress(Progress { phase: "cheaper plans", done, of: CHEAPER });
            let less = Budgets {
                bits: low.bits / 2 + high.bits / 2,
                online_bits: if budgets.online_bits == UNBOUNDED {
                    UNBOUNDED
                } else {
                    low.online_bits / 2 + high.online_bits / 2
                },
            };
            let Ok(narrower) = self.within(less, &mut |_| {}) else {
                low = less;
                continue;
            };
            if self.measured.loss(self.quantizer, &narrower).mean() <= most {
                (best, high) = ((narrower, less), less);
            } else {
                low = less;
            }
        }
        Ok(best)
    }

    /// Raises one width and lowers another, in the order of expected loss, and keeps what lowers
    /// the measured loss.
    fn swap(
        &self,
        budgets: Budgets,
        start: BitWidths,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<BitWidths, SearchError> {
        let trials = self.options.swaps;
        let mut current = start;
        let mut loss = self.measured.loss(self.quantizer, &current);
        let mut swaps = self.swaps(&current);
        let mut tried = Vec::new();
        for done in 0..trials {
            progress(Progress { phase: "swapping widths", done, of: trials });
            let Some((_, swapped)) = swaps.pop() else { break };
            if tried.contains(&swapped) {
                continue;
            }
            tried.push(swapped.clone());
            if !budgets.admit(self.price(&swapped)?) {
                continue;
            }
            let found = self.measured.loss(self.quantizer, &swapped);
            if found.is_less_than(&loss) {
                (current, loss) = (swapped, found);
                swaps = self.swaps(&current);
            }
        }
        Ok(current)
    }

    /// All swaps, that of the least expected loss last.
    fn swaps(&self, current: &BitWidths) -> Vec<(f64, BitWidths)> {
        let raised = widths(current).filter_map(|up| Some((up, up.moved(current, 1)?)));
        let mut swaps: Vec<(f64, BitWidths)> = raised
            .flat_map(|(up, raised)| {
                let lowered: Vec<BitWidths> = widths(current)
                    .filter(|down| *down != up)
                    .filter_map(|down| down.moved(&raised, -1))
                    .collect();
                lowered
            })
            .map(|swapped| (self.sensitivity.loss(&swapped), swapped))
            .collect();
        swaps.sort_by(|a, b| b.0.total_cmp(&a.0));
        swaps
    }

    /// The cheapest widths that have an accuracy on the calibration images.
    fn accurate(
        &self,
        budgets: Budgets,
        accuracy: f64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<BitWidths, SearchError> {
        let widest = uniform_widths(self.quantizer.activations(), 8);
        let most = self.price(&widest)?.bits.min(budgets.bits);
        let narrowest = self.narrowest();
        let mut low = self.price(&narrowest)?.bits;
        if low > most {
            return Err(self.impossible(budgets, self.price(&narrowest)?));
        }
        let mut best = self.within(Budgets { bits: most, ..budgets }, &mut |_| {})?;
        let reached = self.measured.accuracy(self.quantizer, &best);
        if reached < accuracy {
            return Err(SearchError::Inaccurate { wanted: accuracy, reached });
        }
        // Invariant: `best` has the accuracy and costs at most `high`. Whether `low` has it is not
        // known, nor needed. Prices spread over a factor, so the middle is geometric; six halvings
        // leave the 64th root of that factor.
        let mut high = most;
        for done in 0..HALVINGS {
            progress(Progress { phase: "accuracy", done, of: HALVINGS });
            let middle = (low as f64 * high as f64).sqrt() as u64;
            let candidate = self.within(Budgets { bits: middle, ..budgets }, &mut |_| {})?;
            if self.measured.accuracy(self.quantizer, &candidate) >= accuracy {
                (best, high) = (candidate, middle);
            } else {
                low = middle;
            }
        }
        Ok(best)
    }

    /// The widest budgets whose fastest plan takes no longer than so many seconds.
    fn within_seconds(
        &self,
        budgets: Budgets,
        seconds: f64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Budgets, SearchError> {
        // Seconds have no estimate of their own: they are met by the bits they allow, as a plan's
        // time is taken to grow with what it moves.
        let narrowest = self.narrowest();
        let smallest = self.seconds(&narrowest)?;
        if smallest > seconds {
            return Err(SearchError::ImpossibleSeconds { budget: seconds, smallest });
        }
        let mut low = self.price(&narrowest)?.bits;
        let mut high = self
            .price(&uniform_widths(self.quantizer.activations(), 8))?
            .bits
            .min(budgets.bits)
            .max(low);
        for done in 0..HALVINGS {
            progress(Progress { phase: "seconds", done, of: HALVINGS });
            let middle = (low as f64 * high as f64).sqrt() as u64;
            let candidate = self.within(Budgets { bits: middle, ..budgets }, &mut |_| {})?;
            // Invariant: the plan within `low` was fast enough, the narrowest at first.
            if self.seconds(&candidate)? <= seconds { low = middle } else { high = middle }
        }
        Ok(Budgets { bits: low, ..budgets })
    }

    /// The time of the fastest plan at some widths.
    fn seconds(&self, bit_widths: &BitWidths) -> Result<f64, SearchError> {
        let (graph, weights) = self.quantizer.quantize(bit_widths)?;
        let plan = fastest(&graph, &weights.digest(), &self.options.purpose())?;
        Ok(plan.map_or(f64::INFINITY, |plan| self.options.seconds(&plan)))
    }
}
