//! The Prometheus HTTP API: parses, fans out, merges and answers.
