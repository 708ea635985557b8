//! Windows and views as plans have them, and back.

use protocols::plan;

use super::{Axis, View, Window};

impl Window {
    pub(crate) fn to_plan(self) -> plan::Window {
        plan::Window {
            kernel: [self.kernel_h, self.kernel_w],
            stride: [self.stride_h, self.stride_w],
            pad: [self.pad_top, self.pad_left, self.pad_bottom, self.pad_right],
        }
    }

    pub(crate) fn of_plan(window: &plan::Window) -> Self {
        let plan::Window { kernel: [kernel_h, kernel_w], stride: [stride_h, stride_w], pad } =
            *window;
        let [pad_top, pad_left, pad_bottom, pad_right] = pad;
        Self { kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, pad_bottom, pad_right }
    }
}

impl View {
    pub(crate) fn to_plan(self) -> plan::View {
        let axis = |f: fn(&Axis) -> usize| std::array::from_fn(|i| f(&self.axes[i]));
        plan::View {
            start: axis(|a| a.start),
            stride: axis(|a| a.stride),
            len: axis(|a| a.length),
            before: axis(|a| a.before),
            after: axis(|a| a.after),
        }
    }

    pub(crate) fn of_plan(view: &plan::View) -> Self {
        let axis = |i: usize| Axis {
            start: view.start[i],
            stride: view.stride[i],
            length: view.len[i],
            before: view.before[i],
            after: view.after[i],
        };
        Self { axes: std::array::from_fn(axis) }
    }
}
