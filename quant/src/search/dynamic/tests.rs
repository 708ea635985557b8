use good_lp::{Expression, ProblemVariables, Solution, SolverModel, microlp, variable};
use proptest::prelude::*;

use super::*;

/// A random instance: what arrives costs `rate * ring`, of each budget its own.
#[derive(Clone, Debug)]
struct Instance {
    stages: Vec<Stage>,
    rates: Vec<Vec<Costs>>,
}

/// Costs, loss in sevenths, and demands by how far ahead they are.
type Drawn = ((u64, u64), u32, Vec<(usize, u8)>);

fn instance(most: usize) -> impl Strategy<Value = Instance> {
    let choice = ((0u64..40, 0u64..40), 0u32..50, prop::collection::vec((1usize..3, 1u8..4), 0..3));
    let stages = prop::collection::vec(prop::collection::vec(choice, 1..4), 1..most);
    let rates = prop::collection::vec(prop::collection::vec((0u64..9, 0u64..9), 4), most);
    (stages, rates).prop_map(|(stages, rates)| {
        let count = stages.len();
        let stage = |(at, choices): (usize, Vec<Drawn>)| Stage {
            choices: choices
                .into_iter()
                .map(|((a, b), loss, demands)| Choice {
                    costs: [a, b],
                    loss: f64::from(loss) / 7.0,
                    demands: demands
                        .into_iter()
                        .map(|(ahead, ring)| (at + ahead, ring))
                        .filter(|(stage, _)| *stage < count)
                        .collect(),
                })
                .collect(),
        };
        let stages = stages.into_iter().enumerate().map(stage).collect();
        let rates =
            rates.into_iter().map(|of| of.into_iter().map(|(a, b)| [a, b]).collect()).collect();
        Instance { stages, rates }
    })
}

impl Instance {
    fn arrival(&self, stage: usize, choice: usize, ring: Option<u8>) -> Costs {
        self.rates[stage][choice].map(|rate| rate * u64::from(ring.unwrap_or(0)))
    }

    fn solve(&self, budgets: Costs) -> Option<Vec<usize>> {
        let arrival = |stage, choice, ring| self.arrival(stage, choice, ring);
        Problem { stages: &self.stages, arrival: &arrival }.solve(budgets)
    }

    /// Costs and loss of a choice of everything.
    fn price(&self, choices: &[usize]) -> (Costs, f64) {
        let mut rings = vec![None; self.stages.len()];
        let (mut costs, mut loss) = ([0, 0], 0.0);
        for (at, &choice) in choices.iter().enumerate() {
            let arrived = self.arrival(at, choice, rings[at]);
            let taken = &self.stages[at].choices[choice];
            costs = [0, 1].map(|which| costs[which] + taken.costs[which] + arrived[which]);
            loss += taken.loss;
            for &(stage, ring) in &taken.demands {
                rings[stage] = rings[stage].max(Some(ring));
            }
        }
        (costs, loss)
    }

    /// The same as a mixed-integer linear program: `x` takes a choice; `y[s][c]` is at least the
    /// price of what arrives at stage `s` under choice `c` from each demand made of it.
    fn program(&self, budgets: Costs) -> Option<f64> {
        let mut variables = ProblemVariables::new();
        let takes: Vec<Vec<_>> = self
            .stages
            .iter()
            .map(|stage| stage.choices.iter().map(|_| variables.add(variable().binary())).collect())
            .collect();
        let mut loss = Expression::from(0.0);
        let mut costs = [Expression::from(0.0), Expression::from(0.0)];
        let mut implied = Vec::new();
        for (at, stage) in self.stages.iter().enumerate() {
            for (index, choice) in stage.choices.iter().enumerate() {
                loss += choice.loss * takes[at][index];
                let ring = variables.add(variable().min(0.0));
                for (which, sum) in costs.iter_mut().enumerate() {
                    *sum += choice.costs[which] as f64 * takes[at][index];
                    *sum += self.rates[at][index][which] as f64 * ring;
                }
                for (before, other) in self.stages.iter().enumerate().take(at) {
                    for (from, other) in other.choices.iter().enumerate() {
                        for (_, wanted) in other.demands.iter().filter(|(stage, _)| *stage == at) {
                            implied.push((
                                ring,
                                f64::from(*wanted),
                                takes[at][index],
                                takes[before][from],
                            ));
                        }
                    }
                }
            }
        }
        let mut model = variables.minimise(loss.clone()).using(microlp);
        for stage in &takes {
            model =
                model.with(stage.iter().map(|&x| Expression::from(x)).sum::<Expression>().eq(1.0));
        }
        for (ring, wanted, here, there) in implied {
            model =
                model.with((Expression::from(ring) - wanted * here - wanted * there).geq(-wanted));
        }
        for (cost, budget) in costs.into_iter().zip(budgets) {
            model = model.with(cost.leq(budget as f64));
        }
        model.solve().ok().map(|solution| solution.eval(loss))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 40 } else { 400 }))]

    #[test]
    fn no_choice_within_the_budgets_is_better(
        instance in instance(7),
        budget in 0u64..250,
        other in 0u64..250,
    ) {
        let budgets = [budget, other];
        let found = instance.solve(budgets).map(|choices| instance.price(&choices));
        let best = instance.program(budgets);
        match (found, best) {
            (Some((costs, loss)), Some(best)) => {
                prop_assert!(costs[0] <= budget && costs[1] <= other, "{costs:?} of {budgets:?}");
                prop_assert!((loss - best).abs() < 1e-6, "{loss} where {best} is possible");
            }
            (found, best) => prop_assert_eq!(found.is_some(), best.is_some()),
        }
    }

    #[test]
    fn a_budget_without_bound_is_as_one_budget(instance in instance(7), budget in 0u64..250) {
        let loss = |budgets| instance.solve(budgets).map(|choices| instance.price(&choices).1);
        prop_assert_eq!(
            loss([budget, u64::MAX / 4]),
            instance.program([budget, 1 << 40]).and(loss([budget, 1 << 40]))
        );
    }
}
