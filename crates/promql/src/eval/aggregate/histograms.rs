//! Sums and means of native histograms. They are kept cell by cell, as there are few compared to floats.

use std::collections::HashMap;
use std::sync::Arc;

use pharos_histogram::{CompensatedHistogram, MeanHistogram};
use pharos_model::{CounterReset, Histogram, Labels};

use crate::annotations::Annotations;
use crate::eval::Eval;
use crate::eval::hist_window::{MIXED_SCHEMAS, collision, reconciled};

/// The cells that have histograms.
pub(super) struct HistCells {
    mean: bool,
    cells: HashMap<usize, Cell>,
    /// Annotations about the histograms. They come after those of the argument.
    notes: Annotations,
}

struct Cell {
    total: Total,
    reset: bool,
    not_reset: bool,
}

enum Total {
    Sum(Box<CompensatedHistogram>),
    Mean(Box<MeanHistogram>),
    /// The histograms are incompatible. Whether the cell had floats before that.
    Incompatible(bool),
    /// The histograms came after a float and are ignored.
    Ignored,
}

impl HistCells {
    pub(super) fn new(mean: bool) -> Self {
        HistCells { mean, cells: HashMap::new(), notes: Annotations::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Whether a cell has histograms.
    pub(super) fn has(&self, cell: usize) -> bool {
        !self.cells.is_empty() && self.cells.contains_key(&cell)
    }

    /// Adds a histogram of the series `labels` to a cell; `floats` tells whether the cell had floats before.
    pub(super) fn add(&mut self, at: usize, h: &Histogram, labels: &Labels, floats: bool, pos: usize) {
        let mean = self.mean;
        let Some(cell) = self.cells.get_mut(&at) else {
            let total = if floats {
                Total::Ignored
            } else if mean {
                Total::Mean(Box::new(MeanHistogram::new(h)))
            } else {
                Total::Sum(Box::new(CompensatedHistogram::new(h)))
            };
            let mut cell = Cell { total, reset: false, not_reset: false };
            cell.remember(h);
            self.cells.insert(at, cell);
            return;
        };
        let added = match &mut cell.total {
            Total::Sum(sum) => sum.add(h),
            Total::Mean(mean) => mean.add(h),
            Total::Incompatible(_) | Total::Ignored => return,
        };
        cell.remember(h);
        match added {
            Ok(combined) if combined.bounds_reconciled => self.notes.info(reconciled("aggregation"), pos),
            Ok(_) => {}
            Err(_) => {
                let name = pharos_gocompat::GoQuoted(labels.metric_name());
                self.notes.warn(format!("{MIXED_SCHEMAS} {name}"), pos);
                cell.total = Total::Incompatible(floats);
            }
        }
    }

    /// Takes the annotations so far.
    pub(super) fn take_notes(&mut self) -> Annotations {
        std::mem::take(&mut self.notes)
    }

    /// The result of a cell, if it has one; `floats` tells whether it had floats, too.
    pub(super) fn finish(&mut self, ev: &Eval<'_, '_>, at: usize, floats: bool, pos: usize) -> Option<Arc<Histogram>> {
        let cell = self.cells.remove(&at)?;
        // What comes after incompatible histograms is ignored.
        let mixed = if let Total::Incompatible(before) = cell.total { before } else { floats };
        if mixed {
            ev.note(|n| n.warn("encountered a mix of histograms and floats for aggregation", pos));
            return None;
        }
        let mut result = match cell.total {
            Total::Sum(sum) => sum.finish(),
            Total::Mean(mean) => mean.finish(),
            Total::Incompatible(_) | Total::Ignored => return None,
        };
        if cell.reset && cell.not_reset {
            ev.note(|n| n.warn(collision("aggregation"), pos));
        }
        result.compact(0);
        Some(Arc::new(result))
    }
}

impl Cell {
    fn remember(&mut self, h: &Histogram) {
        self.reset |= h.counter_reset == CounterReset::Reset;
        self.not_reset |= h.counter_reset == CounterReset::NotReset;
    }
}
