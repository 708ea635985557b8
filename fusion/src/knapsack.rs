//! The multiple-choice knapsack: one item of each group, the least loss within a budget.
//!
//! Labels (cost, loss) grow group by group; dominated ones go, and so do those that cannot beat a
//! known solution even by a Lagrangian bound on the rest (Kellerer, Pferschy, Pisinger: Knapsack
//! Problems, 2004, chapter 11). What is left is the exact optimum. Where it takes too many labels,
//! those go as well that may beat the known solution by a small part of its loss alone.

/// The most labels of a group; networks with few small steps stay far below it.
const MAX_LABELS: usize = 1 << 12;
/// Parts of the least loss that may be given away, where nothing less ends in time.
const SLACKS: [f64; 4] = [0.0, 1e-4, 1e-3, 1e-2];

/// An item of a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Item {
    /// What it takes of the budget.
    pub cost: u64,
    /// What is minimized. Finite.
    pub loss: f64,
}

impl Item {
    /// Its loss, and its cost at a price in losses.
    const fn priced(&self, price: f64) -> f64 {
        self.loss + price * self.cost as f64
    }
}

/// A partial choice.
#[derive(Clone, Copy)]
struct Label {
    cost: u64,
    loss: f64,
    item: usize,
    /// Index of the label of the group before that it extends.
    parent: usize,
}

/// The index of the item taken of every group, or `None` where even the cheapest items exceed the
/// budget.
pub fn choose(groups: &[Vec<Item>], budget: u64) -> Option<Vec<usize>> {
    // An item that another one beats is in no best choice: its labels need not be made.
    let kept: Vec<Vec<usize>> = groups.iter().map(|group| unbeaten(group)).collect();
    let groups: Vec<Vec<Item>> = groups
        .iter()
        .zip(&kept)
        .map(|(group, kept)| kept.iter().map(|&item| group[item]).collect())
        .collect();
    let chosen = choose_unbeaten(&groups, budget)?;
    Some(chosen.into_iter().zip(kept).map(|(item, kept)| kept[item]).collect())
}

/// The items of a group that no other one beats in both respects, in order; of equal ones the
/// first.
fn unbeaten(group: &[Item]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..group.len()).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (group[a], group[b]);
        a.cost.cmp(&b.cost).then(a.loss.total_cmp(&b.loss))
    });
    let mut least = f64::INFINITY;
    order.retain(|&item| {
        let better = group[item].loss < least;
        least = least.min(group[item].loss);
        better
    });
    order.sort_unstable();
    order
}

fn choose_unbeaten(groups: &[Vec<Item>], budget: u64) -> Option<Vec<usize>> {
    let bounds = Bounds::new(groups, budget)?;
    let found = SLACKS.into_iter().find_map(|slack| search(groups, &bounds, slack));
    Some(found.unwrap_or(bounds.picks))
}

/// The least loss but for a part of the known one, or the known solution where none is less;
/// `None` where that takes too many labels.
fn search(groups: &[Vec<Item>], bounds: &Bounds, slack: f64) -> Option<Vec<usize>> {
    // Invariant: `layers[at]` are choices of the first `at` groups, in order of cost and of falling
    // loss, of which none beats another.
    let mut layers: Vec<Vec<Label>> = vec![vec![Label { cost: 0, loss: 0.0, item: 0, parent: 0 }]];
    for (at, group) in groups.iter().enumerate() {
        let mut labels = Vec::new();
        // Item by item: labels of one come in order of cost, which makes them quick to sort.
        for (item, &Item { cost, loss }) in group.iter().enumerate() {
            for (parent, label) in layers[at].iter().enumerate() {
                let label =
                    Label { cost: label.cost + cost, loss: label.loss + loss, item, parent };
                if bounds.admits(at + 1, &label, slack) {
                    labels.push(label);
                }
            }
        }
        let labels = undominated(labels);
        if labels.len() > MAX_LABELS {
            return None;
        }
        layers.push(labels);
    }
    // With a slack, what is left may be worse than what is known: bounds say what a choice may
    // become, and the best one may have gone.
    let better = layers.last()?.iter().filter(|label| label.loss <= bounds.known);
    let best = better.min_by(|a, b| a.loss.total_cmp(&b.loss));
    let Some(mut label) = best.copied() else { return Some(bounds.picks.clone()) };
    let mut chosen = vec![0; groups.len()];
    for at in (0..groups.len()).rev() {
        chosen[at] = label.item;
        label = layers[at][label.parent];
    }
    Some(chosen)
}

/// Labels that no other one beats in both respects, the cheapest first.
fn undominated(mut labels: Vec<Label>) -> Vec<Label> {
    labels.sort_by(|a, b| {
        let values = a.cost.cmp(&b.cost).then(a.loss.total_cmp(&b.loss));
        values.then_with(|| (a.parent, a.item).cmp(&(b.parent, b.item)))
    });
    // In order of cost a label stays if it loses less than all before it: of (3, 0.5), (5, 0.7),
    // (6, 0.2) the second goes.
    let mut least = f64::INFINITY;
    labels.retain(|label| {
        let better = label.loss < least;
        if better {
            least = label.loss;
        }
        better
    });
    labels
}

/// What a partial choice can still become.
struct Bounds {
    budget: u64,
    /// The price of a unit of budget.
    price: f64,
    /// A known solution, and its loss.
    picks: Vec<usize>,
    known: f64,
    /// For the groups from an index on: the cheapest cost, and the least loss plus price times
    /// cost.
    rest: Vec<(u64, f64)>,
}

impl Bounds {
    fn new(groups: &[Vec<Item>], budget: u64) -> Option<Self> {
        let price = price(groups, budget)?;
        let mut picks = greedy(groups, price);
        let own = || groups.iter().zip(&picks).map(|(group, &at)| group[at]);
        let (mut cost, mut known) =
            (own().map(|item| item.cost).sum::<u64>(), own().map(|item| item.loss).sum::<f64>());
        // Improve the known solution by what still fits, one group at a time.
        for (group, pick) in groups.iter().zip(&mut picks) {
            let rest = cost - group[*pick].cost;
            let fits = (0..group.len()).filter(|&at| rest + group[at].cost <= budget);
            if let Some(at) = fits.min_by(|&a, &b| group[a].loss.total_cmp(&group[b].loss)) {
                cost = rest + group[at].cost;
                known += group[at].loss - group[*pick].loss;
                *pick = at;
            }
        }
        // Sums over the groups from the last on, reversed at the end: `rest[at]` is of those that a
        // label of `layers[at]` has yet to choose from.
        let mut rest = vec![(0, 0.0)];
        for group in groups.iter().rev() {
            let &(cheapest, priced) = rest.last()?;
            let cheap = group.iter().map(|item| item.cost).min()?;
            let least = group.iter().map(|item| item.priced(price)).fold(f64::INFINITY, f64::min);
            rest.push((cheapest + cheap, priced + least));
        }
        rest.reverse();
        Some(Self { budget, price, picks, known, rest })
    }

    /// Whether a choice of the groups before `from` may become better than what is known, by a
    /// part of that.
    fn admits(&self, from: usize, label: &Label, slack: f64) -> bool {
        let Label { cost, loss, .. } = *label;
        let (cheapest, priced) = self.rest[from];
        if cost + cheapest > self.budget {
            return false;
        }
        // Whatever completes the choice costs at most `left`, so it loses at least its priced loss
        // minus the price of that: no completion is below `bound`.
        let left = (self.budget - cost) as f64;
        let bound = loss + priced - self.price * left;
        bound <= self.known + (1e-9 - slack) * self.known.abs() + 1e-12
    }
}

/// The least price at which taking each group's best item keeps the budget.
fn price(groups: &[Vec<Item>], budget: u64) -> Option<f64> {
    let cheapest =
        groups.iter().map(|group| group.iter().map(|item| item.cost).min()).sum::<Option<u64>>()?;
    if cheapest > budget {
        return None;
    }
    if fits(groups, budget, 0.0) {
        return Some(0.0);
    }
    // A higher price never picks dearer items. Invariant: `high` fits once the loop has found it,
    // `low` does not.
    let (mut low, mut high) = (0.0, 1.0);
    while !fits(groups, budget, high) && high < 1e300 {
        high *= 16.0;
    }
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        // No number lies between the two any more.
        if middle <= low || middle >= high {
            break;
        }
        if fits(groups, budget, middle) { high = middle } else { low = middle }
    }
    Some(high)
}

/// Whether each group's best item at a price keeps the budget.
fn fits(groups: &[Vec<Item>], budget: u64, price: f64) -> bool {
    let picks = greedy(groups, price);
    groups.iter().zip(picks).map(|(group, at)| group[at].cost).sum::<u64>() <= budget
}

/// The index of each group's best item at a price, of the cheaper one of equals.
fn greedy(groups: &[Vec<Item>], price: f64) -> Vec<usize> {
    let mut chosen = Vec::with_capacity(groups.len());
    for group in groups {
        let best = group.iter().enumerate().min_by(|(_, a), (_, b)| {
            a.priced(price).total_cmp(&b.priced(price)).then(a.cost.cmp(&b.cost))
        });
        chosen.extend(best.map(|(at, _)| at));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum_loss(items: &[Item]) -> f64 {
        items.iter().map(|item| item.loss).sum()
    }

    fn exhaustive(groups: &[Vec<Item>], budget: u64) -> Option<f64> {
        let Some((first, rest)) = groups.split_first() else { return Some(0.0) };
        let with =
            |item: &Item| Some(item.loss + exhaustive(rest, budget.checked_sub(item.cost)?)?);
        first.iter().filter_map(with).min_by(f64::total_cmp)
    }

    proptest! {
        #[test]
        fn the_choice_is_within_the_budget_and_none_is_better(
            items in prop::collection::vec(prop::collection::vec((0u64..40, 0u32..50), 1..5), 0..6),
            budget in 0u64..150,
        ) {
            let item = |&(cost, loss): &(u64, u32)| Item { cost, loss: f64::from(loss) / 7.0 };
            let groups: Vec<Vec<Item>> =
                items.iter().map(|group| group.iter().map(item).collect()).collect();
            let found = choose(&groups, budget).map(|chosen| {
                let picks: Vec<Item> =
                    chosen.iter().zip(&groups).map(|(&i, group)| group[i]).collect();
                assert!(picks.iter().map(|item| item.cost).sum::<u64>() <= budget);
                sum_loss(&picks)
            });
            match (found, exhaustive(&groups, budget)) {
                (Some(a), Some(b)) => prop_assert!((a - b).abs() < 1e-9, "{a} against {b}"),
                (a, b) => prop_assert_eq!(a.is_some(), b.is_some()),
            }
        }

        #[test]
        fn many_groups_of_many_items_take_no_time(seed in any::<u64>()) {
            let mut state = seed;
            let mut next = || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                state >> 33
            };
            let mut item = |_| Item { cost: next() % 100_000_000, loss: next() as f64 };
            let groups: Vec<Vec<Item>> =
                (0..25).map(|_| (0..40).map(&mut item).collect()).collect();
            prop_assert!(choose(&groups, 700_000_000).is_some());
        }

        #[test]
        fn what_is_given_away_is_within_the_slack(
            items in prop::collection::vec(prop::collection::vec((0u64..40, 0u32..50), 1..5), 1..6),
            budget in 0u64..150,
            slack in 0.0..0.5f64,
        ) {
            let item = |&(cost, loss): &(u64, u32)| Item { cost, loss: f64::from(loss) / 7.0 };
            let groups: Vec<Vec<Item>> =
                items.iter().map(|group| group.iter().map(item).collect()).collect();
            let Some(best) = exhaustive(&groups, budget) else { return Ok(()) };
            let bounds = Bounds::new(&groups, budget).unwrap();
            let chosen = search(&groups, &bounds, slack).unwrap();
            let picks: Vec<Item> = chosen.iter().zip(&groups).map(|(&i, group)| group[i]).collect();
            prop_assert!(picks.iter().map(|item| item.cost).sum::<u64>() <= budget);
            prop_assert!(sum_loss(&picks) <= best + slack * bounds.known + 1e-9);
        }
    }
}
