//! Plans a fetch: which rows it needs, and which pages hold them.

use std::ops::Range;

use pharos_model::TimeRange;

use super::file::{PageRef, ParquetFile};
use super::files::SelectedSeries;
use super::row_headers::RowHeader;
use crate::coding::Mode;
use crate::error::BlockError;
use crate::schema::data as columns;

/// A row that is needed, with the pages that hold it.
pub(super) struct PlannedRow {
    pub(super) header: RowHeader,
    /// The position of the row in its row group.
    pub(super) local: u32,
    /// The page of `vi` or `vd`; `None` for a constant.
    pub(super) values: Option<PageRef>,
    /// The page of start timestamps, if the row group has any.
    pub(super) st: Option<PageRef>,
}

/// The rows that may have samples in `range`, and where the rows of each series end.
pub(super) async fn plan(
    selected: &SelectedSeries,
    file: &ParquetFile,
    series: Range<usize>,
    range: TimeRange,
) -> Result<(Vec<PlannedRow>, Vec<usize>), BlockError> {
    let table = &selected.table;
    let spans: Vec<Range<u32>> = selected.sids[series]
        .iter()
        .map(|sid| *sid as usize)
        .map(|sid| match TimeRange::new(table.first_t[sid], table.last_t[sid]).overlaps(&range) {
            true => table.rows[sid]..table.rows[sid + 1],
            false => 0..0,
        })
        .collect();
    let mut groups: Vec<usize> = Vec::new();
    for span in spans.iter().filter(|span| !span.is_empty()) {
        let from = file.group_of(u64::from(span.start)).max(groups.last().map_or(0, |last| last + 1));
        groups.extend(from..=file.group_of(u64::from(span.end - 1)));
    }
    let headers = selected.files.row_headers(file, &groups).await?;
    let mut rows = Vec::new();
    let mut ends = Vec::with_capacity(spans.len());
    let mut at = 0;
    for span in spans {
        let begin = rows.len();
        for row in span {
            while at + 1 < groups.len() && file.groups[groups[at + 1]].first_row <= u64::from(row) {
                at += 1;
            }
            let local = (u64::from(row) - file.groups[groups[at]].first_row) as usize;
            let header = headers[at].rows[local];
            // A row ends before the next row of its series begins.
            if rows.len() > begin && header.first_t <= range.start {
                rows.truncate(begin);
            }
            if header.first_t <= range.end {
                rows.push(plan_row(file, groups[at], local as u32, header, headers[at].has_st)?);
            }
        }
        ends.push(rows.len());
    }
    Ok((rows, ends))
}

fn plan_row(
    file: &ParquetFile,
    group: usize,
    local: u32,
    header: RowHeader,
    has_st: bool,
) -> Result<PlannedRow, BlockError> {
    let page_of = |column: usize| {
        let pages = &file.groups[group].chunks[column].pages;
        let page = pages.partition_point(|page| page.first_row <= local).checked_sub(1);
        let page = page.ok_or_else(|| file.damaged(format!("row {local} of row group {group} has no page")))?;
        Ok::<_, BlockError>(PageRef { group: group as u32, column: column as u32, page: Some(page as u32) })
    };
    let values = match header.mode {
        Mode::Constant => None,
        Mode::Scaled => Some(page_of(columns::VI)?),
        Mode::Doubles | Mode::ConstantDouble => Some(page_of(columns::VD)?),
    };
    Ok(PlannedRow { header, local, values, st: if has_st { Some(page_of(columns::ST)?) } else { None } })
}
