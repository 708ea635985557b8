//! The least loss within one or two budgets, where the price of a choice also depends on choices
//! before it: exactly.
//!
//! Stages are activation quantizers, in order; a choice is the width of an activation quantizer and
//! of the layers that read it. Each layer demands a ring of the activation quantizer that its
//! accumulators are rounded to; what rounding there costs depends on the widest ring demanded. So
//! the state between two stages is the list of rings demanded of later ones, and the whole is a
//! shortest path with resources (Irnich, Desaulniers: Shortest Path Problems with Resource
//! Constraints, 2005): labels of cost and loss grow stage by stage and state by state; those go
//! that another label beats, or that cannot beat a known path even by a Lagrangian bound on the
//! rest, which is exact in the states.

use std::collections::HashMap;

/// What a choice takes of the two budgets.
pub(super) type Costs = [u64; 2];

/// One activation quantizer.
#[derive(Clone, Debug, Default)]
pub(super) struct Stage {
    pub choices: Vec<Choice>,
}

/// Widths of an activation quantizer and of the layers that read it.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    /// Without what depends on rings demanded.
    pub costs: Costs,
    /// What is minimized. Finite.
    pub loss: f64,
    /// Rings demanded of later stages.
    pub demands: Vec<(usize, u8)>,
}

/// A problem: stages, and the price of a choice at a stage of which a ring is demanded.
pub(super) struct Problem<'a> {
    pub stages: &'a [Stage],
    pub arrival: &'a dyn Fn(usize, usize, Option<u8>) -> Costs,
}

/// Rings demanded of stages to come, by stage.
type State = Vec<(usize, u8)>;

/// A choice taken in a state.
#[derive(Clone, Copy)]
struct Arc {
    costs: Costs,
    loss: f64,
    /// The state at the next stage.
    to: usize,
}

/// All arcs: by stage, state and choice.
struct Arcs(Vec<Vec<Vec<Arc>>>);

/// A partial path.
#[derive(Clone, Copy)]
struct Label {
    costs: Costs,
    loss: f64,
    choice: usize,
    /// State and label of the stage before.
    parent: (usize, usize),
}

/// A complete path.
#[derive(Clone, Debug)]
struct Path {
    choices: Vec<usize>,
    costs: Costs,
    loss: f64,
}

/// Steps of the search for the multipliers of one budget.
const HALVINGS: usize = 60;
/// Rounds over both budgets.
const ROUNDS: usize = 4;

impl Problem<'_> {
    /// The choice of every stage, or `None` where nothing meets the budgets.
    pub(super) fn solve(&self, budgets: Costs) -> Option<Vec<usize>> {
        let arcs = self.arcs();
        // Least costs to the end, each budget's for itself: the two may belong to different paths.
        // Where one exceeds its budget nothing fits; where neither does, nothing is proved.
        let least = [0, 1].map(|which| arcs.values(|arc| arc.costs[which] as f64));
        if (0..2).any(|which| least[which][0][0] > budgets[which] as f64) {
            return None;
        }
        let (multipliers, known) = arcs.multipliers(budgets);
        let rest = arcs.values(|arc| arc.priced(multipliers));
        let bound = Bound {
            budgets,
            multipliers,
            known: known.as_ref().map(|path| path.loss),
            least,
            rest,
        };
        arcs.label(&bound).or(known).map(|path| path.choices)
    }

    fn arcs(&self) -> Arcs {
        // States of a stage are numbered in the order in which arcs first lead to them: `Arc::to`
        // is an index into those of the next stage. Every one of them is reachable.
        let mut states: Vec<State> = vec![Vec::new()];
        let mut arcs = Vec::with_capacity(self.stages.len());
        for (at, stage) in self.stages.iter().enumerate() {
            let mut numbers: HashMap<State, usize> = HashMap::new();
            let mut following: Vec<State> = Vec::new();
            let mut of_stage = Vec::with_capacity(states.len());
            for state in &states {
                let ring = state.iter().find(|(stage, _)| *stage == at).map(|(_, ring)| *ring);
                let mut of_state = Vec::with_capacity(stage.choices.len());
                for (index, choice) in stage.choices.iter().enumerate() {
                    let next = after(state, at, &choice.demands);
                    let to = *numbers.entry(next.clone()).or_insert_with(|| {
                        following.push(next);
                        following.len() - 1
                    });
                    let more = (self.arrival)(at, index, ring);
                    let costs = [choice.costs[0] + more[0], choice.costs[1] + more[1]];
                    of_state.push(Arc { costs, loss: choice.loss, to });
                }
                of_stage.push(of_state);
            }
            arcs.push(of_stage);
            states = following;
        }
        Arcs(arcs)
    }
}

/// The state after a stage, with the widest of what is demanded of each later one.
fn after(state: &State, at: usize, demands: &[(usize, u8)]) -> State {
    // The stage itself has used what was demanded of it: its entry goes, so that paths that differ
    // in nothing else meet in one state.
    let mut next: State = state.iter().copied().filter(|(stage, _)| *stage != at).collect();
    for &(stage, ring) in demands {
        debug_assert!(stage > at, "invariant: quantizers are in topological order");
        match next.iter_mut().find(|(other, _)| *other == stage) {
            Some((_, widest)) => *widest = ring.max(*widest),
            None => next.push((stage, ring)),
        }
    }
    // Sorting makes equal states equal lists: they are keys.
    next.sort_unstable();
    next
}

impl Arc {
    fn priced(&self, multipliers: [f64; 2]) -> f64 {
        self.loss + multipliers[0] * self.costs[0] as f64 + multipliers[1] * self.costs[1] as f64
    }
}

impl Arcs {
    /// By stage and state: the least sum of values from there to the end.
    fn values(&self, value: impl Fn(&Arc) -> f64) -> Vec<Vec<f64>> {
        // The end has as many states as the last arcs lead to: one, where all demands are used up.
        let states = self
            .0
            .last()
            .map_or(1, |stage| 1 + stage.iter().flatten().map(|arc| arc.to).max().unwrap_or(0));
        // Values are built from the end, `values[state]` of stage after stage; reversed, their
        // index is the stage.
        let mut values = vec![vec![0.0; states]];
        for stage in self.0.iter().rev() {
            let next = values.last().expect("invariant: the end was pushed first");
            let of_stage = stage
                .iter()
                .map(|arcs| {
                    arcs.iter().map(|arc| value(arc) + next[arc.to]).fold(f64::INFINITY, f64::min)
                })
                .collect();
            values.push(of_stage);
        }
        values.reverse();
        values
    }

    /// The best path at some multipliers.
    fn path(&self, multipliers: [f64; 2]) -> Path {
        let values = self.values(|arc| arc.priced(multipliers));
        let mut path = Path { choices: Vec::new(), costs: [0, 0], loss: 0.0 };
        let mut state = 0;
        for (at, stage) in self.0.iter().enumerate() {
            let arcs = &stage[state];
            let priced: Vec<f64> =
                arcs.iter().map(|arc| arc.priced(multipliers) + values[at + 1][arc.to]).collect();
            let best = (0..arcs.len()).min_by(|&a, &b| priced[a].total_cmp(&priced[b]));
            let best = best.expect("invariant: every stage has a choice");
            path.choices.push(best);
            path.costs = [0, 1].map(|which| path.costs[which] + arcs[best].costs[which]);
            path.loss += arcs[best].loss;
            state = arcs[best].to;
        }
        path
    }

    /// Multipliers near those of the tightest bound, and the best path met on the way that keeps
    /// the budgets.
    fn multipliers(&self, budgets: Costs) -> ([f64; 2], Option<Path>) {
        let mut best: Option<Path> = None;
        let mut multipliers = [0.0; 2];
        // The dual is concave in both multipliers, and one is set at a time. Any multipliers that
        // are not negative bound truly, so stopping early costs labels, never exactness.
        for _ in 0..ROUNDS {
            for which in 0..2 {
                // A larger multiplier never makes the path take more of its own budget, the other
                // multiplier held fixed: so the least one that keeps the budget can be bisected.
                multipliers[which] = 0.0;
                if self.keeps(budgets, which, multipliers, &mut best) {
                    continue;
                }
                // Multipliers are nats a bit: 1e-12 is a nat for 10^12 bits, little for any
                // network. The upper end grows until it keeps the budget; the lower one does not
                // keep it.
                let (mut low, mut high) = (1e-18f64, 1e-12f64);
                loop {
                    multipliers[which] = high;
                    if self.keeps(budgets, which, multipliers, &mut best) || high >= 1e12 {
                        break;
                    }
                    low = high;
                    high *= 64.0;
                }
                for _ in 0..HALVINGS {
                    // Magnitudes are unknown by many powers of ten, so the middle is geometric.
                    // Each step halves the logarithm of `high / low`: from a factor of 64, 32 steps
                    // lead to a billionth.
                    let middle = (low * high).sqrt();
                    multipliers[which] = middle;
                    if self.keeps(budgets, which, multipliers, &mut best) {
                        high = middle
                    } else {
                        low = middle
                    }
                    if high / low < 1.0 + 1e-9 {
                        break;
                    }
                }
                multipliers[which] = high;
            }
            // Where the second budget does not bind, the first multiplier has no other to wait for.
            if multipliers[1] == 0.0 {
                break;
            }
        }
        (multipliers, best)
    }

    /// Whether the best path at some multipliers keeps one of the budgets. The path becomes the
    /// best one if it keeps both, and none that did lost less.
    fn keeps(
        &self,
        budgets: Costs,
        which: usize,
        multipliers: [f64; 2],
        best: &mut Option<Path>,
    ) -> bool {
        let path = self.path(multipliers);
        let keeps = [0, 1].map(|which| path.costs[which] <= budgets[which]);
        if keeps == [true, true] && best.as_ref().is_none_or(|best| path.loss < best.loss) {
            *best = Some(path);
        }
        keeps[which]
    }

    /// Grows all labels that may lead to a better path than is known.
    fn label(&self, bound: &Bound) -> Option<Path> {
        // Labels are `all[stage][state][index]`, and `parent` is `(state, index)` one stage before.
        // What may follow depends on the state alone, so labels are compared within one state only.
        let start = Label { costs: [0, 0], loss: 0.0, choice: 0, parent: (0, 0) };
        let mut all: Vec<Vec<Vec<Label>>> = vec![vec![vec![start]]];
        for (at, stage) in self.0.iter().enumerate() {
            let states = 1 + stage.iter().flatten().map(|arc| arc.to).max()?;
            let mut next = vec![Vec::new(); states];
            for (state, labels) in all[at].iter().enumerate() {
                for (index, label) in labels.iter().enumerate() {
                    for (choice, arc) in stage[state].iter().enumerate() {
                        let costs = [label.costs[0] + arc.costs[0], label.costs[1] + arc.costs[1]];
                        let label = Label {
                            costs,
                            loss: label.loss + arc.loss,
                            choice,
                            parent: (state, index),
                        };
                        if bound.admits(at + 1, arc.to, &label) {
                            next[arc.to].push(label);
                        }
                    }
                }
            }
            all.push(next.into_iter().map(undominated).collect());
        }
        self.trace(&all)
    }

    fn trace(&self, all: &[Vec<Vec<Label>>]) -> Option<Path> {
        let last = all.last()?.iter().flatten();
        let mut label =
            *last.min_by(|a, b| a.loss.total_cmp(&b.loss).then(a.costs.cmp(&b.costs)))?;
        let mut path =
            Path { choices: vec![0; self.0.len()], costs: label.costs, loss: label.loss };
        for at in (0..self.0.len()).rev() {
            path.choices[at] = label.choice;
            label = all[at][label.parent.0][label.parent.1];
        }
        Some(path)
    }
}

/// Labels that no other one beats in cost, the other cost, and loss.
fn undominated(mut labels: Vec<Label>) -> Vec<Label> {
    // In this order no label has less of the first cost than one before it: it stays unless one
    // before has no more of the second cost and no more loss.
    labels.sort_by(|a, b| a.costs.cmp(&b.costs).then(a.loss.total_cmp(&b.loss)));
    // The second cost and the loss of those kept: one rises as the other falls.
    let mut stairs: std::collections::BTreeMap<u64, f64> = std::collections::BTreeMap::new();
    labels.retain(|label| {
        // The last stair at or below this second cost has the least loss of all of them: it decides
        // alone. For stairs 3: 0.5 and 7: 0.2, a label of 8 and 0.3 is beaten, one of 5 and 0.3 is
        // not.
        let beaten = stairs
            .range(..=label.costs[1])
            .next_back()
            .is_some_and(|(_, &loss)| loss <= label.loss);
        if beaten {
            return false;
        }
        // Stairs that cost no less and lose no less would break the order; they are a run, since
        // losses fall as costs rise.
        let above: Vec<u64> = stairs
            .range(label.costs[1]..)
            .take_while(|(_, loss)| **loss >= label.loss)
            .map(|(&cost, _)| cost)
            .collect();
        for cost in above {
            stairs.remove(&cost);
        }
        stairs.insert(label.costs[1], label.loss);
        true
    });
    labels
}

/// What a partial path can still become.
struct Bound {
    budgets: Costs,
    multipliers: [f64; 2],
    known: Option<f64>,
    /// The least costs of the rest.
    least: [Vec<Vec<f64>>; 2],
    /// The least priced loss of the rest.
    rest: Vec<Vec<f64>>,
}

impl Bound {
    fn admits(&self, stage: usize, state: usize, label: &Label) -> bool {
        let fits = [0, 1].map(|which| {
            label.costs[which] as f64 + self.least[which][stage][state]
                <= self.budgets[which] as f64
        });
        if fits != [true, true] {
            return false;
        }
        let Some(known) = self.known else { return true };
        // Lagrange: whatever fits spends at most what is left, so its loss is at least its priced
        // loss minus multiplier times what is left. A budget without a limit has multiplier zero.
        let left = [0, 1].map(|which| {
            self.multipliers[which] * (self.budgets[which] as f64 - label.costs[which] as f64)
        });
        let bound = label.loss + self.rest[stage][state] - left[0] - left[1];
        // Slack covers the rounding of sums in another order, so that the known path itself, or one
        // as good, is never cut off.
        bound <= known + 1e-9 * known.abs() + 1e-12
    }
}

#[cfg(test)]
mod tests;
