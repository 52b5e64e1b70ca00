//! Answers queries from the blocks in object storage.
