//! What happens to every element alone. Rows are those of a layout: the frames stay zero.
//!
//! `pulp` compiles each loop for the widest instructions that the processor has. Functions of an
//! element own what they need and have no branches: a loop over others does one at a time.

use pulp::{Arch, NullaryFnOnce};

use crate::kernels::Element;
use crate::layout::Place;
use crate::network::Rounding;

/// Changes the elements of a place.
struct Change<'a, T, F> {
    place: Place,
    values: &'a mut [T],
    f: F,
}

impl<T: Element, F: Fn(T) -> T> NullaryFnOnce for Change<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for row in self.place.rows() {
            self.values[row].iter_mut().for_each(|value| *value = (self.f)(*value));
        }
    }
}

/// Makes elements of a place of their own values and of those of another place.
struct Combine<'a, T, F> {
    places: [Place; 2],
    values: &'a mut [T],
    others: &'a [T],
    f: F,
}

impl<T: Element, F: Fn(T, T) -> T> NullaryFnOnce for Combine<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let [to, from] = self.places;
        for (row, other) in to.rows().zip(from.rows()) {
            for (value, &other) in self.values[row].iter_mut().zip(&self.others[other]) {
                *value = (self.f)(*value, other);
            }
        }
    }
}

/// The nearest number of an interval, in the form that compilers have two instructions for.
#[inline(always)]
fn within<T: Element>(value: T, low: T, high: T) -> T {
    let value = if value > low { value } else { low };
    if value < high { value } else { high }
}

fn change<T: Element>(place: Place, values: &mut [T], f: impl Fn(T) -> T) {
    Arch::new().dispatch(Change { place, values, f });
}

fn combine<T: Element>(places: [Place; 2], values: &mut [T], others: &[T], f: impl Fn(T, T) -> T) {
    Arch::new().dispatch(Combine { places, values, others, f });
}

/// Sets the elements of a place to a function of those of another.
pub(crate) fn map<T: Element>(
    places: [Place; 2],
    values: &mut [T],
    from: &[T],
    f: impl Fn(T) -> T,
) {
    combine(places, values, from, move |_, from| f(from));
}

/// Adds a multiple of the elements of another place, or sets the elements to it.
pub(crate) fn add<T: Element>(
    places: [Place; 2],
    values: &mut [T],
    others: &[T],
    factor: T,
    add: bool,
) {
    if add {
        combine(places, values, others, move |value, other| value + other * factor);
    } else {
        combine(places, values, others, move |_, other| other * factor);
    }
}

pub(crate) fn scale<T: Element>(place: Place, values: &mut [T], factor: T) {
    if factor != T::one() {
        change(place, values, move |value| value * factor);
    }
}

pub(crate) fn relu<T: Element>(place: Place, values: &mut [T], max: Option<f32>) {
    match max {
        None => change(place, values, |value| within(value, T::zero(), T::infinity())),
        Some(max) => {
            let max = T::of(f64::from(max));
            change(place, values, move |value| within(value, T::zero(), max));
        }
    }
}

/// Keeps the cotangents of elements that were neither cut off nor at a kink.
pub(crate) fn relu_back<T: Element>(
    place: Place,
    cotangent: &mut [T],
    output: &[T],
    max: Option<f32>,
) {
    let max = max.map_or(T::infinity(), |max| T::of(f64::from(max)));
    // A product: compilers store a choice of zero or nothing lane by lane, which is slow.
    combine([place; 2], cotangent, output, move |cotangent, output| {
        cotangent * if (output > T::zero()) & (output < max) { T::one() } else { T::zero() }
    });
}

pub(crate) fn round<T: Element>(
    places: [Place; 2],
    values: &mut [T],
    from: &[T],
    rounding: &Rounding,
) {
    let [factor, low, high, half] = [rounding.factor, rounding.low, rounding.high, 0.5].map(T::of);
    map(places, values, from, move |value| within((value * factor + half).floor(), low, high));
}

/// Sets the elements of a place to a function of those of another and of a number each has.
pub(crate) fn map_each<T: Element>(
    places: [Place; 2],
    values: &mut [T],
    [from, numbers]: [&[T]; 2],
    f: impl Fn(T, T) -> T,
) {
    Arch::new().dispatch(Each { places, values, from, numbers, f });
}

/// What [`map_each`] does; numbers lie as the results do.
struct Each<'a, T, F> {
    places: [Place; 2],
    values: &'a mut [T],
    from: &'a [T],
    numbers: &'a [T],
    f: F,
}

impl<T: Element, F: Fn(T, T) -> T> NullaryFnOnce for Each<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let [to, from] = self.places;
        for (row, other) in to.rows().zip(from.rows()) {
            let (values, numbers) = (&mut self.values[row.clone()], &self.numbers[row]);
            let sources = self.from[other].iter().zip(numbers);
            for (value, (&from, &number)) in values.iter_mut().zip(sources) {
                *value = (self.f)(from, number);
            }
        }
    }
}

/// The result of a PRelu for an element and its slope.
pub(crate) fn inclined<T: Element>(value: T, slope: T) -> T {
    if value > T::zero() { value } else { value * slope }
}

/// Adds the gradients of slopes: what is below zero times the cotangents of the results.
pub(crate) fn slope_sums<T: Element>(
    [to, from]: [Place; 2],
    sums: &mut [T],
    [input, cotangent]: [&[T]; 2],
) {
    for (row, other) in to.rows().zip(from.rows()) {
        let sources = input[other].iter().zip(&cotangent[row.clone()]);
        for (sum, (&value, &cotangent)) in sums[row].iter_mut().zip(sources) {
            *sum += value.min(T::zero()) * cotangent;
        }
    }
}

/// Sets or adds the cotangents of what was rounded, at the place of what it was before.
pub(crate) fn round_back<T: Element>(
    places: [Place; 2],
    back: &mut [T],
    sources: [&[T]; 2],
    rounding: &Rounding,
    add: bool,
) {
    let [factor, low, high, half] = [rounding.factor, rounding.low, rounding.high, 0.5].map(T::of);
    let (least, most) = (low - half, high + half);
    // Half a step beyond either end still rounds to it.
    slope_back(places, back, sources, add, move |before| {
        let scaled = before * factor;
        if (least <= scaled) & (scaled < most) { factor } else { T::zero() }
    });
}

/// Sets or adds cotangents times slopes that each element has its own number for.
pub(crate) fn slope_each<T: Element>(
    places: [Place; 2],
    back: &mut [T],
    [before, cotangent, numbers]: [&[T]; 3],
    add: bool,
    slope: impl Fn(T, T) -> T,
) {
    Arch::new().dispatch(EachSlope {
        places,
        back,
        before,
        sources: [cotangent, numbers],
        add,
        slope,
    });
}

/// What [`slope_each`] does.
struct EachSlope<'a, T, F> {
    places: [Place; 2],
    back: &'a mut [T],
    before: &'a [T],
    /// The cotangents of the results, and the numbers, which lie as they do.
    sources: [&'a [T]; 2],
    add: bool,
    slope: F,
}

impl<T: Element, F: Fn(T, T) -> T> NullaryFnOnce for EachSlope<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let [to, from] = self.places;
        for (row, other) in to.rows().zip(from.rows()) {
            let (back, before) = (&mut self.back[row.clone()], &self.before[row]);
            let [cotangent, numbers] = self.sources.map(|source| &source[other.clone()]);
            let each = back.iter_mut().zip(before).zip(cotangent.iter().zip(numbers));
            for ((back, &before), (&cotangent, &number)) in each {
                let passed = cotangent * (self.slope)(before, number);
                *back = if self.add { *back + passed } else { passed };
            }
        }
    }
}

/// As [`round`], to as many integers from the element's own least one on.
pub(crate) fn round_each<T: Element>(
    places: [Place; 2],
    values: &mut [T],
    sources: [&[T]; 2],
    rounding: &Rounding,
) {
    let [factor, half] = [rounding.factor, 0.5].map(T::of);
    let span = T::of(rounding.high - rounding.low);
    map_each(places, values, sources, move |value, low| {
        within((value * factor + half).floor(), low, low + span)
    });
}

/// As [`round_back`] of that.
pub(crate) fn round_each_back<T: Element>(
    places: [Place; 2],
    back: &mut [T],
    sources: [&[T]; 3],
    rounding: &Rounding,
    add: bool,
) {
    let [factor, half] = [rounding.factor, 0.5].map(T::of);
    let span = T::of(rounding.high - rounding.low);
    slope_each(places, back, sources, add, move |before, low| {
        let scaled = before * factor;
        let within = (low - half <= scaled) & (scaled < low + span + half);
        if within { factor } else { T::zero() }
    });
}

/// Sets or adds cotangents times slopes, at the place of what the slopes are taken at.
pub(crate) fn slope_back<T: Element>(
    places: [Place; 2],
    back: &mut [T],
    sources: [&[T]; 2],
    add: bool,
    slope: impl Fn(T) -> T,
) {
    Arch::new().dispatch(Slopes { places, back, sources, add, slope });
}

/// What [`slope_back`] does.
struct Slopes<'a, T, F> {
    places: [Place; 2],
    back: &'a mut [T],
    /// What the slopes are taken at, and the cotangents of what was made of it.
    sources: [&'a [T]; 2],
    add: bool,
    slope: F,
}

impl<T: Element, F: Fn(T) -> T> NullaryFnOnce for Slopes<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let ([to, from], [before, cotangent]) = (self.places, self.sources);
        for (row, other) in to.rows().zip(from.rows()) {
            let (back, before) = (&mut self.back[row.clone()], &before[row]);
            let sources = before.iter().zip(&cotangent[other]);
            for (back, (&before, &cotangent)) in back.iter_mut().zip(sources) {
                let passed = cotangent * (self.slope)(before);
                *back = if self.add { *back + passed } else { passed };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn loops_run_in_the_widest_instructions() {
        let is_wide = pulp::x86::V3::try_new().is_some();
        // Without the feature of the crate that has them there is no such variant.
        assert_eq!(matches!(pulp::Arch::new(), pulp::Arch::V3(_)), is_wide);
    }
}
