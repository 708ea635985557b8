//! Windows and views as plans have them, and back.

use model::{Axis, View, Window};
use protocols::plan;

/// A window of a plan.
pub(crate) fn to_window(window: &Window) -> plan::Window {
    plan::Window {
        kernel: [window.kernel_h, window.kernel_w],
        stride: [window.stride_h, window.stride_w],
        pad: [window.pad_top, window.pad_left, window.pad_bottom, window.pad_right],
    }
}

/// A window of a model.
pub(crate) fn window_of(window: &plan::Window) -> Window {
    let plan::Window { kernel: [kernel_h, kernel_w], stride: [stride_h, stride_w], pad } = *window;
    let [pad_top, pad_left, pad_bottom, pad_right] = pad;
    Window { kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, pad_bottom, pad_right }
}

/// A view of a plan.
pub(crate) fn to_view(view: &View) -> plan::View {
    plan::View {
        start: view.axes.map(|axis| axis.start),
        stride: view.axes.map(|axis| axis.stride),
        len: view.axes.map(|axis| axis.length),
        before: view.axes.map(|axis| axis.before),
        after: view.axes.map(|axis| axis.after),
    }
}

/// A view of a model.
pub(crate) fn view_of(view: &plan::View) -> View {
    View {
        axes: std::array::from_fn(|i: usize| Axis {
            start: view.start[i],
            stride: view.stride[i],
            length: view.len[i],
            before: view.before[i],
            after: view.after[i],
        }),
    }
}
