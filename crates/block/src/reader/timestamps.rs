//! Loads timestamp vectors of a block, which are cached one by one.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::cache::{CacheItem, Cached};
use super::cursor::{Cursor, read_integers};
use super::file::PageRef;
use super::files::{BlockFiles, FileId};
use crate::error::BlockError;
use crate::schema::ts as columns;

/// Loads timestamp vectors by number.
pub(super) async fn load(files: &BlockFiles, mut ids: Vec<u32>) -> Result<HashMap<u32, Arc<[i64]>>, BlockError> {
    ids.sort_unstable();
    ids.dedup();
    let mut vectors = HashMap::with_capacity(ids.len());
    ids.retain(|id| match files.cached(CacheItem::Ts(*id)) {
        Some(Cached::Ts(vector)) => vectors.insert(*id, vector).is_some(),
        _ => true,
    });
    if ids.is_empty() {
        return Ok(vectors);
    }
    let file = files.file(FileId::Ts).await?;
    let mut wanted: Vec<(PageRef, u32)> = Vec::with_capacity(ids.len());
    for id in ids {
        if u64::from(id) >= file.rows() {
            return Err(file.damaged(format!("timestamp vector {id} is missing")));
        }
        let group = file.group_of(u64::from(id));
        let local = (u64::from(id) - file.groups[group].first_row) as u32;
        let pages = &file.groups[group].chunks[columns::T].pages;
        let page = pages.partition_point(|page| page.first_row <= local).saturating_sub(1) as u32;
        wanted.push((PageRef { group: group as u32, column: columns::T as u32, page: Some(page) }, id));
    }
    let mut pages: Vec<PageRef> = wanted.iter().map(|(page, _)| *page).collect();
    pages.dedup();
    let bytes: HashMap<PageRef, Bytes> =
        pages.iter().copied().zip(files.pages(FileId::Ts, &file, &pages).await?).collect();
    let mut cursor = Cursor::default();
    for (page, id) in wanted {
        let group = &file.groups[page.group as usize];
        let local = (u64::from(id) - group.first_row) as u32;
        let list = cursor.seek(&file, &bytes, page, local, 1, read_integers)?;
        let vector: Arc<[i64]> = Arc::from(cursor.slice(list));
        files.cache(CacheItem::Ts(id), Cached::Ts(vector.clone()));
        vectors.insert(id, vector);
    }
    Ok(vectors)
}
