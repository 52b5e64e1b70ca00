//! Times the queries of a file.

mod file;
mod summary;

use std::path::Path;

use tokio::time::Instant;

use crate::api::Api;
use crate::cli::QueryArgs;
use crate::error::Error;
use crate::process;
use crate::report;
use file::Query;
use summary::{Content, Summary};

/// Runs end one step apart, at most this many steps before the end, so that a cache of whole results cannot answer them.
const MAX_SHIFT: i64 = 7;

/// Runs and prints all queries of the file.
pub(crate) async fn run(args: QueryArgs) -> Result<(), Error> {
    let api = Api::new(&args.url, args.tenant.clone(), 1)?;
    let text = std::fs::read_to_string(&args.file).map_err(|source| Error::Read { path: args.file.clone(), source })?;
    for query in file::parse(&text, &args.file)? {
        report::line(&time(&api, &query, &args).await?)?;
    }
    Ok(())
}

/// Runs one query `warmup + repeat` times. A refusal by the server is part of the summary, not an error.
async fn time(api: &Api, query: &Query, args: &QueryArgs) -> Result<Summary, Error> {
    let cpu_before = process::cpu_seconds(&args.pid);
    let mut summary = Summary::new(&query.name);
    let runs = args.warmup + args.repeat;
    for run in 0..runs {
        let end = args.end - (i64::from(run) % MAX_SHIFT) * args.step;
        let began = Instant::now();
        let body = match api.form(query.path(), &query.form(end, args)).await {
            Ok(body) => body,
            Err(refused @ Error::Status { .. }) => {
                summary.refused(&refused);
                break;
            }
            Err(error) => return Err(error),
        };
        if run >= args.warmup {
            summary.took(began.elapsed());
        }
        if run == 0 {
            summary.content = Content::of(&api.rows(query.path(), &body)?);
            if let Some(folder) = &args.keep {
                keep(folder, &query.name, &body)?;
            }
        }
    }
    summary.set_cpu(process::cpu_seconds(&args.pid) - cpu_before, runs);
    Ok(summary)
}

/// Stores a response as `<folder>/<name>.json`.
fn keep(folder: &Path, name: &str, body: &[u8]) -> Result<(), Error> {
    let path = folder.join(format!("{name}.json"));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, body))
        .map_err(|source| Error::Write { path, source })
}
