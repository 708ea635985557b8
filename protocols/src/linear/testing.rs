//! Random geometries.

use proptest::prelude::*;

use super::Geometry;

/// Small convolutions of every kind: strides, dilation, asymmetric padding, groups.
pub(crate) fn any_geometry() -> impl Strategy<Value = Geometry> {
    let sizes = (1usize..4, 1usize..4, 1usize..4, 1usize..4, 1usize..7, 1usize..7);
    let steps = (1usize..3, 1usize..3, 1usize..3, 1usize..3);
    let pads = (0usize..3, 0usize..3, 0usize..3, 0usize..3, 1usize..3);
    (sizes, steps, pads)
        .prop_map(
            |(
                (cin, cout, kernel_h, kernel_w, in_h, in_w),
                (sh, sw, dh, dw),
                (t, l, b, r, groups),
            )| {
                Geometry {
                    in_channels: cin * groups,
                    in_h,
                    in_w,
                    out_channels: cout * groups,
                    kernel_h,
                    kernel_w,
                    stride_h: sh,
                    stride_w: sw,
                    dilation_h: dh,
                    dilation_w: dw,
                    pad_top: t,
                    pad_left: l,
                    pad_bottom: b,
                    pad_right: r,
                    groups,
                }
            },
        )
        .prop_filter("a kernel that fits", |g| g.check().is_ok())
}

/// Small convolutions that Winograd's algorithm can compute, odd sizes and padding of any kind
/// among them.
pub(crate) fn any_three_by_three() -> impl Strategy<Value = Geometry> {
    let sizes = (1usize..4, 1usize..4, 1usize..8, 1usize..8, 1usize..3);
    let pads = (0usize..3, 0usize..3, 0usize..3, 0usize..3);
    (sizes, pads)
        .prop_map(|((c, k, in_h, in_w, groups), (pad_top, pad_left, pad_bottom, pad_right))| {
            Geometry {
                in_h,
                in_w,
                kernel_h: 3,
                kernel_w: 3,
                pad_top,
                pad_left,
                pad_bottom,
                pad_right,
                groups,
                ..Geometry::dense(c * groups, k * groups)
            }
        })
        .prop_filter("a kernel that fits", |g| g.check().is_ok())
}
