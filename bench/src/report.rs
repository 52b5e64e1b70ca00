//! Results on stdout, one JSON value per line.

use std::io::Write;

use serde::Serialize;

use crate::error::Error;

/// Prints a value as one line of JSON.
pub(crate) fn line(value: &impl Serialize) -> Result<(), Error> {
    write(value, &mut std::io::stdout().lock()).map_err(Error::Print)
}

fn write(value: &impl Serialize, out: &mut impl Write) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_one_compact_line() {
        let mut out = Vec::new();
        write(&serde_json::json!({"retries": 0}), &mut out).unwrap();
        assert_eq!(out, b"{\"retries\":0}\n");
    }
}
