//! The parabola that stands for a function best: least squares on the values of a channel.

/// `square x^2 + linear x + constant`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Parabola {
    pub(super) square: f64,
    pub(super) linear: f64,
    pub(super) constant: f64,
}

/// `square (x - vertex)^2 + least`, which opens upwards or is flat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Vertex {
    pub(super) square: f64,
    pub(super) vertex: f64,
    pub(super) least: f64,
    /// How far values are from the vertex, nearly all of them.
    pub(super) reach: f64,
}

/// What least squares need of values x, as `z = (x - mean) / spread`, and of their targets.
pub(super) struct Moments {
    mean: f64,
    spread: f64,
    /// The means of z^3 and z^4; those of z and z^2 are 0 and 1.
    third: f64,
    fourth: f64,
    /// The means of the target, and of it times z and z^2.
    targets: [f64; 3],
}

/// Standard deviations between the mean and the vertex, at most. What is nearly a line has its
/// vertex far away, and integers of few bits would be spent on the way there.
const FARTHEST: f64 = 4.0;
/// Standard deviations within which nearly all values are.
const WITHIN: f64 = 3.0;
/// A variance below this part of what it is of is that of rounding.
const NONE: f64 = 1e-9;

impl Moments {
    /// Of values, and of what a function makes of them.
    pub(super) fn of(values: impl Iterator<Item = f32> + Clone, f: impl Fn(f64) -> f64) -> Self {
        let values = values.map(f64::from);
        let count = values.clone().count().max(1) as f64;
        let mean = values.clone().sum::<f64>() / count;
        let variance = values.clone().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        // Of one value alone there is nothing to tell but what becomes of it.
        if variance <= NONE * mean * mean {
            let targets = [f(mean), 0.0, f(mean)];
            return Self { mean, spread: 1.0, third: 0.0, fourth: 1.0, targets };
        }
        let spread = variance.sqrt();
        let mut moments = Self { mean, spread, third: 0.0, fourth: 0.0, targets: [0.0; 3] };
        for x in values {
            let (z, target) = ((x - mean) / spread, f(x));
            moments.third += z.powi(3) / count;
            moments.fourth += z.powi(4) / count;
            for (power, sum) in (0..).zip(&mut moments.targets) {
                *sum += target * z.powi(power) / count;
            }
        }
        moments
    }

    /// The nearest parabola.
    pub(super) fn parabola(&self) -> Parabola {
        let (square, linear) = self.solution();
        let constant = self.targets[0] - square;
        // From z to x.
        let Self { mean, spread, .. } = *self;
        let (square, linear) = (square / (spread * spread), linear / spread);
        Parabola {
            square,
            linear: linear - 2.0 * square * mean,
            constant: constant - linear * mean + square * mean * mean,
        }
    }

    /// The nearest parabola that does not open downwards and whose vertex is near the values.
    pub(super) fn vertex(&self) -> Vertex {
        let (mut square, mut linear) = self.solution();
        // Those parabolas are the convex cone `|linear| <= 2 FARTHEST square`: where the least
        // squares are outside of it, the nearest one is on one of its two edges.
        if linear.abs() > 2.0 * FARTHEST * square {
            (square, linear) = self.edge();
        }
        let from = if square > 0.0 { linear / (2.0 * square) } else { 0.0 };
        let Self { mean, spread, targets, .. } = *self;
        Vertex {
            square: square / (spread * spread),
            vertex: mean - spread * from,
            least: targets[0] - square - square * from * from,
            reach: spread * (from.abs() + WITHIN),
        }
    }

    /// The factors of z^2 and of z.
    fn solution(&self) -> (f64, f64) {
        let [target, first, second] = self.targets;
        // Of z and z^2 - 1 the variances are 1 and fourth - 1, and the covariance is third.
        let left = self.fourth - 1.0 - self.third * self.third;
        if left <= NONE * self.fourth {
            // Two values: a line goes through both.
            return (0.0, first);
        }
        let square = (second - target - self.third * first) / left;
        (square, first - self.third * square)
    }

    /// The same of the nearest parabola whose vertex is as far away as it may be.
    fn edge(&self) -> (f64, f64) {
        let [target, first, second] = self.targets;
        let mut best = (0.0, (0.0, 0.0));
        for factor in [2.0 * FARTHEST, -2.0 * FARTHEST] {
            // Least squares of `z^2 - 1 + factor z` alone.
            let variance = self.fourth - 1.0 + 2.0 * factor * self.third + factor * factor;
            let covariance = second - target + factor * first;
            let square = (covariance / variance.max(NONE)).max(0.0);
            if square * covariance > best.0 {
                best = (square * covariance, (square, factor * square));
            }
        }
        best.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values on a grid, as a normal distribution has them, moved to a mean.
    fn normal(mean: f32, spread: f32) -> Vec<f32> {
        let density = |at: i32| (2000.0 * (-f64::from(at * at) / 800.0).exp()).round() as usize;
        let values = (-80..=80).flat_map(|at| std::iter::repeat_n(at as f32 / 20.0, density(at)));
        values.map(|z| mean + spread * z).collect()
    }

    fn relu(x: f64) -> f64 {
        x.max(0.0)
    }

    fn moments(values: &[f32]) -> Moments {
        Moments::of(values.iter().copied(), relu)
    }

    #[test]
    fn a_relu_of_normal_values_is_the_parabola_of_its_hermite_coefficients() {
        // 1 / (2 sqrt(2 pi)) = 0.1995, 1/2, and the same again (Lou, Shen, Jin, Jiang: SAFENet,
        // ICLR 2021 has them rounded).
        let Parabola { square, linear, constant } = moments(&normal(0.0, 1.0)).parabola();
        assert!((square - 0.1995).abs() < 4e-3, "{square}");
        assert!((linear - 0.5).abs() < 1e-6, "{linear}");
        assert!((constant - 0.1995).abs() < 4e-3, "{constant}");
        // Of wider values that are not around zero it is moved along with them.
        let values = normal(0.7, 2.5);
        let (found, vertex) = (moments(&values).parabola(), moments(&values).vertex());
        for x in [-4.0, 0.0, 1.3, 6.0] {
            let wide = found.square * x * x + found.linear * x + found.constant;
            let same = vertex.square * (x - vertex.vertex).powi(2) + vertex.least;
            assert!((wide - same).abs() < 1e-9, "{wide} {same}");
        }
    }

    #[test]
    fn no_other_parabola_is_nearer() {
        let values = normal(-0.4, 1.3);
        let moments = moments(&values);
        let error = |parabola: Parabola| -> f64 {
            let Parabola { square, linear, constant } = parabola;
            let off = values.iter().map(|&x| {
                let x = f64::from(x);
                (square * x * x + linear * x + constant - relu(x)).powi(2)
            });
            off.sum()
        };
        let best = moments.parabola();
        for by in [-0.01, 0.01] {
            assert!(error(Parabola { square: best.square + by, ..best }) > error(best));
            assert!(error(Parabola { linear: best.linear + by, ..best }) > error(best));
            assert!(error(Parabola { constant: best.constant + by, ..best }) > error(best));
        }
    }

    #[test]
    fn a_line_has_its_vertex_where_it_may_be_and_zeros_are_flat() {
        let line = moments(&normal(9.0, 1.0)).vertex();
        assert!((line.vertex - (9.0 - FARTHEST)).abs() < 1e-2, "{line:?}");
        assert!(line.square > 0.0 && (line.reach - FARTHEST - WITHIN).abs() < 0.1, "{line:?}");
        // As steep in the middle as the line, and as high.
        let at = |x: f64| line.square * (x - line.vertex).powi(2) + line.least;
        assert!((at(9.5) - at(8.5) - 1.0).abs() < 0.05 && (at(9.0) - 9.0).abs() < 0.2, "{line:?}");
        let flat = moments(&normal(-9.0, 1.0)).vertex();
        assert_eq!((flat.square, flat.least), (0.0, 0.0));
        assert!((flat.vertex + 9.0).abs() < 1e-6);
        // One value, and two.
        let one = moments(&[3.0; 5]);
        assert_eq!(one.parabola(), Parabola { square: 0.0, linear: 0.0, constant: 3.0 });
        assert_eq!(one.vertex().least, 3.0);
        let two = moments(&[-1.0, 1.0]).parabola();
        assert!((two.linear - 0.5).abs() < 1e-9 && (two.constant - 0.5).abs() < 1e-9, "{two:?}");
    }
}
