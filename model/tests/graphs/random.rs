//! Convolutions and pools of random geometry.

use proptest::prelude::*;

use super::{check, graph, node, weights};

fn pads(kernel: i64) -> impl Strategy<Value = [i64; 4]> {
    [0..kernel, 0..kernel, 0..kernel, 0..kernel]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn convolutions_equal_the_reference(
        (groups, per_group, outputs) in (1..4_i64, 1..4_i64, 1..4_i64),
        [h, w] in [6..11_usize, 6..11_usize],
        kernel in [1..4_i64, 1..4_i64],
        strides in [1..4_i64, 1..4_i64],
        dilations in [1..3_i64, 1..3_i64],
        pads in pads(5),
    ) {
        let dims = [groups * outputs, per_group, kernel[0], kernel[1]];
        let conv = node("Conv", &["x", "w", "b"], "y")
            .int("group", groups)
            .ints("strides", &strides)
            .ints("dilations", &dilations)
            .ints("pads", &pads);
        let constants = vec![weights("w", &dims), weights("b", &dims[..1])];
        check(13, &graph(&[(groups * per_group) as usize, h, w], constants, vec![conv]));
    }

    #[test]
    fn pools_equal_the_reference(
        [h, w] in [4..9_usize, 4..9_usize],
        (kernel, pads) in (1..4_i64).prop_flat_map(|k| (Just(k), pads(k))),
        strides in [1..4_i64, 1..4_i64],
    ) {
        for op in ["MaxPool", "AveragePool"] {
            let mut pool = node(op, &["x"], "y")
                .ints("kernel_shape", &[kernel; 2])
                .ints("strides", &strides)
                .ints("pads", &pads);
            if op == "AveragePool" {
                pool = pool.int("count_include_pad", 1);
            }
            check(13, &graph(&[2, h, w], vec![], vec![pool]));
        }
    }
}
