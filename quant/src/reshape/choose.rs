//! Which blocks are replaced, and by what: the least loss for what it saves.

use model::{Conv, Model, Preprocess, Tensor};
use serde::{Deserialize, Serialize};

use super::block::{Block, blocks};
use super::fit::fit;
use super::judge::{Judge, ReshapePrice};
use super::surgery::{Change, Changed};
use super::{MAX_KERNEL, ReshapeError, ReshapeOptions, split};
use crate::search::Progress;

/// What can stand for a block, and what that alone is worth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// The kernel of the convolution; none where the block is dropped.
    pub kernel: Option<usize>,
    /// The divergence of the network's answers from the first one's, without any training, in nats.
    pub loss: f64,
    /// Bits or seconds of one inference that it saves, whichever the options say.
    pub saved: f64,
}

/// A block of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockReport {
    /// The names of its first and of its last layer.
    pub layers: [String; 2],
    /// What can stand for it.
    pub alternatives: Vec<Alternative>,
    /// The index of the one that does; none where the block stays.
    pub chosen: Option<usize>,
}

/// What a network has become before any training.
pub(super) struct Chosen {
    pub(super) model: Model,
    pub(super) blocks: Vec<BlockReport>,
    /// The divergence of its answers from the first network's, in nats.
    pub(super) loss: f64,
}

/// Replaces as many blocks as the options say.
pub(super) fn choose(
    model: &Model,
    preprocess: &Preprocess,
    images: &Tensor,
    options: &ReshapeOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Chosen, ReshapeError> {
    check(options)?;
    let found = blocks(model);
    if found.len() < options.blocks {
        return Err(ReshapeError::Blocks { wanted: options.blocks, found: found.len() });
    }
    // Others judge than those that were fitted, above all wide kernels.
    let (fitted, others) = split(images);
    let judge = Judge::new(model, &others);
    let mut chooser = Chooser { model, preprocess, fitted: &fitted, judge, options, price: 0.0 };
    chooser.price = chooser.price_of(model)?;
    let mut reports = Vec::with_capacity(found.len());
    for (done, block) in found.iter().enumerate() {
        progress(Progress { phase: "blocks", done, of: found.len() });
        reports.push(chooser.report(block)?);
    }
    pick(&mut reports, options.blocks)?;
    progress(Progress { phase: "merging", done: 0, of: 1 });
    let model = chooser.changed(&found, &reports)?;
    let loss = chooser.judge.loss(&model);
    Ok(Chosen { model, blocks: reports, loss })
}

/// Verifies the kernels that were asked for.
fn check(options: &ReshapeOptions) -> Result<(), ReshapeError> {
    let wrong = options.kernels.iter().find(|&&kernel| kernel % 2 == 0 || kernel > MAX_KERNEL);
    let none = options.kernels.is_empty().then_some(&0);
    wrong.or(none).map_or(Ok(()), |&kernel| Err(ReshapeError::Kernel { kernel, most: MAX_KERNEL }))
}

struct Chooser<'a> {
    model: &'a Model,
    preprocess: &'a Preprocess,
    fitted: &'a Tensor,
    judge: Judge<'a>,
    options: &'a ReshapeOptions,
    /// The network's own price.
    price: f64,
}

impl Chooser<'_> {
    /// What can stand for a block, each alone.
    fn report(&self, block: &Block) -> Result<BlockReport, ReshapeError> {
        let kernels = self.options.kernels.iter().copied();
        let (kernels, geometries): (Vec<_>, Vec<_>) = kernels
            .filter_map(|kernel| Some((kernel, block.geometry(self.model, kernel)?)))
            .unzip();
        // On the first network's values, so that the blocks' order does not matter here.
        let fitted = fit(self.model, &[], block, &geometries, self.fitted)?;
        let mut changes: Vec<(Option<usize>, Change)> =
            kernels.into_iter().map(Some).zip(fitted.into_iter().map(Change::Merge)).collect();
        if self.options.drop && block.can_be_dropped() {
            changes.push((None, Change::Drop));
        }
        let mut alternatives = Vec::with_capacity(changes.len());
        for (kernel, change) in changes {
            let changed = Changed::of(self.model, &[(block, change)]).model;
            changed.check()?;
            // Of whole plans: behind a block that is gone, rings and masks change too.
            let saved = self.price - self.price_of(&changed)?;
            alternatives.push(Alternative { kernel, loss: self.judge.loss(&changed), saved });
        }
        let layers = [block.nodes[0], block.last()];
        let layers = layers.map(|node| self.model.nodes[node].name.clone());
        Ok(BlockReport { layers, alternatives, chosen: None })
    }

    /// The network with all that was chosen, each convolution fitted to what those before it make.
    fn changed(&self, blocks: &[Block], reports: &[BlockReport]) -> Result<Model, ReshapeError> {
        let mut changes: Vec<(&Block, Change)> = Vec::new();
        for (block, report) in blocks.iter().zip(reports) {
            let Some(chosen) = report.chosen else { continue };
            let change = match report.alternatives[chosen].kernel {
                None => Change::Drop,
                Some(kernel) => Change::Merge(self.fitted(block, &changes, kernel)?),
            };
            changes.push((block, change));
        }
        let changed = Changed::of(self.model, &changes).model;
        changed.check()?;
        Ok(changed)
    }

    fn fitted(
        &self,
        block: &Block,
        changes: &[(&Block, Change)],
        kernel: usize,
    ) -> Result<Conv, ReshapeError> {
        let geometry = block.geometry(self.model, kernel);
        let geometry = geometry.expect("invariant: the kernel suits the block");
        let mut fitted = fit(self.model, changes, block, &[geometry], self.fitted)?;
        Ok(fitted.remove(0))
    }

    fn price_of(&self, model: &Model) -> Result<f64, ReshapeError> {
        let Self { preprocess, fitted, options, .. } = self;
        let saving = (&options.prices, options.saving);
        Ok(ReshapePrice::of_saving(model, preprocess, fitted, saving)?)
    }
}

/// Chooses the blocks that lose least for what they save, and for each what loses least so.
fn pick(reports: &mut [BlockReport], count: usize) -> Result<(), ReshapeError> {
    let mut best: Vec<(f64, usize, usize)> = Vec::new();
    for (block, report) in reports.iter().enumerate() {
        // What saves nothing is never taken, however little it loses.
        let saves = report.alternatives.iter().enumerate().filter(|(_, found)| found.saved > 0.0);
        let rates = saves.map(|(at, found)| (found.loss / found.saved, block, at));
        best.extend(rates.min_by(|a, b| a.0.total_cmp(&b.0)));
    }
    if best.len() < count {
        return Err(ReshapeError::Blocks { wanted: count, found: best.len() });
    }
    best.sort_by(|a, b| a.0.total_cmp(&b.0));
    for &(_, block, at) in &best[..count] {
        reports[block].chosen = Some(at);
    }
    Ok(())
}
